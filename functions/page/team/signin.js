// Shows the page to people who have signed in, and to others the way to do so.
import {html, useEffect, useState} from "../ui.js";

export function SignedIn({session, children}) {
  const [is, setIs] = useState(session ? null : true);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    if (!session) return undefined;
    session.ready().then(setIs, (error) => (setProblem(error.message), setIs(false)));
    return session.onEnd((words) => (setProblem(words), setIs(false)));
  }, []);
  if (is === null) return html`<main><p role="status">Signing in …</p></main>`;
  if (is) return children;
  return html`
    <header class="top"><span class="mark">protloc</span><span class="file"></span></header>
    <main><section aria-labelledby="sign-in">
      <h1 id="sign-in">Where in the cell are your proteins?</h1>
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
      <p>This page is for a team: everyone who signs in sees every file that the team has sent, and its answers.</p>
      <p><button type="button" class="primary" onClick=${() => session.begin()}>Sign in</button></p>
    </section></main>`;
}
