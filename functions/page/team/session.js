// Who is signed in: the authorization code flow with PKCE (RFC 7636, OpenID Connect Core 3.1), and the hour of AWS
// credentials that Amazon Cognito gives for the token. The token stays in this tab, credentials in this script alone.
// The token's signature is Cognito's to verify, which gives nothing for a wrong one.

const KEPT = "protloc sign-in"; // in the tab's own storage
const EARLY = 60_000; // milliseconds before its end, a token or a key is not used any more

export class SignedOut extends Error {}

const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));
const read = () => JSON.parse(sessionStorage.getItem(KEPT) || "{}");
const keep = (value) => sessionStorage.setItem(KEPT, JSON.stringify(value));

function claims(token) {
  const part = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0))));
}

export function makeSession(settings) {
  const place = `${location.origin}${location.pathname}`;
  const listeners = new Set();
  let credentials = null;

  const identity = async (action, request) => {
    const answer = await fetch(settings.identities, {
      method: "POST",
      headers: {"content-type": "application/x-amz-json-1.1", "x-amz-target": `AWSCognitoIdentityService.${action}`},
      body: JSON.stringify(request), credentials: "omit", cache: "no-store",
    });
    const body = await answer.json().catch(() => ({}));
    if (answer.ok) return body;
    if (answer.status < 500) throw new SignedOut(body.message || "Your sign-in was not accepted.");
    throw new Error(`The sign-in service answered ${answer.status}; try again.`);
  };

  // Trades the code in the address, which is there after a sign-in, for a token. False where there is none.
  const finish = async () => {
    const returned = new URLSearchParams(location.search);
    if (!returned.has("state")) return Boolean(read().token);
    const {state, verifier, nonce, hash} = read();
    sessionStorage.removeItem(KEPT);
    history.replaceState(null, "", `${location.pathname}${returned.get("state") === state ? hash : ""}`);
    if (!state || returned.get("state") !== state) throw new SignedOut("This sign-in was begun elsewhere. Sign in again.");
    if (!returned.has("code")) throw new SignedOut(`The sign-in ended with “${returned.get("error_description") || returned.get("error") || "no code"}”.`);
    const request = {grant_type: "authorization_code", client_id: settings.client, code: returned.get("code"), redirect_uri: place, code_verifier: verifier};
    const answer = await fetch(settings.token, {method: "POST", body: new URLSearchParams(request), credentials: "omit", cache: "no-store"});
    const token = answer.ok ? (await answer.json()).id_token : null;
    if (!token) throw new SignedOut("The sign-in was not accepted. Sign in again.");
    const claimed = claims(token);
    if (claimed.nonce !== nonce || claimed.iss !== settings.issuer) throw new SignedOut("The sign-in was for another page. Sign in again.");
    keep({token});
    return true;
  };
  let finished = null;

  return {
    // True if somebody is signed in. Raises SignedOut with what went wrong.
    ready: () => (finished ||= finish()),

    async begin() {
      const [state, verifier, nonce] = [random(), random(), random()];
      keep({state, verifier, nonce, hash: location.hash});
      const challenge = base64url(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier)));
      const address = new URL(settings.authorize);
      const request = {response_type: "code", client_id: settings.client, redirect_uri: place, scope: "openid", state, nonce, code_challenge: challenge, code_challenge_method: "S256"};
      for (const [name, value] of Object.entries(request)) address.searchParams.set(name, value);
      location.assign(address);
    },

    // Forgets everything here, and has the issuer forget it too where it says how.
    end() {
      const {token} = read();
      credentials = null;
      sessionStorage.removeItem(KEPT);
      if (!settings.leave) return location.assign(place);
      const address = new URL(settings.leave);
      // Cognito's own names, and those of OpenID Connect RP-Initiated Logout 1.0.
      const request = {client_id: settings.client, logout_uri: place, post_logout_redirect_uri: place, ...(token && {id_token_hint: token})};
      for (const [name, value] of Object.entries(request)) address.searchParams.set(name, value);
      location.assign(address);
    },

    async credentials() {
      if (credentials && credentials.until - EARLY > Date.now()) return credentials;
      const {token} = read();
      if (!token || claims(token).exp * 1000 - EARLY < Date.now()) throw new SignedOut("Your sign-in has ended. Sign in again.");
      const logins = {Logins: {[settings.issuer.replace("https://", "")]: token}};
      const {IdentityId} = await identity("GetId", {IdentityPoolId: settings.identityPool, ...logins});
      const {Credentials: keys} = await identity("GetCredentialsForIdentity", {IdentityId, ...logins});
      credentials = {key: keys.AccessKeyId, secret: keys.SecretKey, token: keys.SessionToken, until: keys.Expiration * 1000};
      return credentials;
    },

    // Tells the page that nobody is signed in any more.
    forget(words) {
      credentials = null;
      sessionStorage.removeItem(KEPT);
      for (const tell of listeners) tell(words);
    },

    onEnd(tell) {
      listeners.add(tell);
      return () => listeners.delete(tell);
    },
  };
}
