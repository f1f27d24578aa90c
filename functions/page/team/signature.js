// Signs requests to the API as AWS asks for it (Signature Version 4):
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

const encoder = new TextEncoder();
const ALGORITHM = "AWS4-HMAC-SHA256";
const SERVICE = "execute-api";

const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const sha256 = async (text) => hex(await crypto.subtle.digest("SHA-256", encoder.encode(text)));
const encoded = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`);

async function hmac(key, text) {
  const imported = await crypto.subtle.importKey("raw", key, {name: "HMAC", hash: "SHA-256"}, false, ["sign"]);
  return crypto.subtle.sign("HMAC", imported, encoder.encode(text));
}

// The headers that sign one request. `address` is a URL whose path and query are encoded.
export async function signed(method, address, body, credentials, region, now = new Date()) {
  const moment = now.toISOString().replace(/[-:]|\.\d{3}/g, "");
  const headers = {host: address.host, "x-amz-date": moment, "x-amz-security-token": credentials.token};
  const names = Object.keys(headers).sort();
  // Each part of the path is encoded once more; services but S3 want that.
  const path = address.pathname.split("/").map(encoded).join("/");
  const query = [...address.searchParams].map(([name, value]) => `${encoded(name)}=${encoded(value)}`).sort().join("&");
  const canonical = [method, path, query, ...names.map((name) => `${name}:${headers[name]}`), "", names.join(";"), await sha256(body)].join("\n");
  const scope = [moment.slice(0, 8), region, SERVICE, "aws4_request"];
  let key = encoder.encode(`AWS4${credentials.secret}`);
  for (const part of scope) key = await hmac(key, part);
  const signature = hex(await hmac(key, [ALGORITHM, moment, scope.join("/"), await sha256(canonical)].join("\n")));
  const {host, ...sent} = headers; // which the browser sends itself
  return {...sent, authorization: `${ALGORITHM} Credential=${credentials.key}/${scope.join("/")}, SignedHeaders=${names.join(";")}, Signature=${signature}`};
}
