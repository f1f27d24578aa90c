// The home of the page for a team: it asks the API of the stack that serves it, as the person who signed in.
import {SignedOut, makeSession} from "./session.js";
import {signed} from "./signature.js";
import {embedded} from "../compare.js";
import {askJson, postBody} from "../http.js";

const UPLOADS = 50;
const PAUSE = 1000; // milliseconds between two looks for a file that was sent

export function team() {
  const settings = JSON.parse(document.getElementById("data").textContent);
  const session = makeSession(settings);
  const sent = new Map(); // uploads that came of files of this page, until they are seen

  const credentials = () => session.credentials().catch((error) => {
    if (error instanceof SignedOut) session.forget(error.message);
    throw error;
  });
  const ask = async (method, path, body = "") => {
    const address = new URL(path, location.href);
    const headers = await signed(method, address, body, await credentials(), settings.region);
    return askJson(address, {method, headers, ...(body && {body}), credentials: "omit"});
  };
  const path = (upload) => `uploads/${encodeURIComponent(upload)}`;
  const result = async (upload, format) => {
    const {url} = await ask("GET", `${path(upload)}/results?format=${format}&redirect=false`);
    const answer = await fetch(url, {credentials: "omit", referrerPolicy: "no-referrer"});
    if (!answer.ok) throw new Error(`The results could not be read: S3 answered ${answer.status}.`);
    return answer.blob();
  };
  const view = async (upload) => {
    try {
      const known = await ask("GET", path(upload));
      sent.delete(upload);
      return known;
    } catch (error) {
      if (error.status === 404 && sent.has(upload)) return sent.get(upload);
      throw error;
    }
  };
  const form = (fields, body, name, url, progress) => {
    const data = new FormData();
    for (const [field, value] of Object.entries(fields)) data.append(field, value);
    data.append("file", body, name);
    return postBody(url, data, progress).catch(({status}) => {
      throw new Error(`The file could not be sent: S3 ${status ? `answered ${status}` : "does not answer, or does not take it from this page"}.`);
    });
  };

  return {
    live: true,
    session,
    uploads: () => ask("GET", `uploads?size=${UPLOADS}`),
    view,
    // What `complete` wrote into the report; rows of an upload in work are not read.
    async load(upload) {
      const about = await view(upload);
      if (!about.results?.report) throw new Error(about.reason ? `There are no results: ${about.reason}.` : "There are no results that this page can show.");
      return embedded(await (await result(upload, "report")).text());
    },
    explain: (upload, offset) => ask("GET", `${path(upload)}/predictions/${offset}/explanation`),
    save: result,
    async send(body, name, progress) {
      const {submission, url, fields, max_bytes: most} = await ask("POST", "uploads", JSON.stringify({name}));
      if (body.size > most) throw new Error("The file is larger than this stack takes.");
      await form(fields, body, name, url, progress);
      for (;;) {
        try {
          const {upload} = await ask("GET", `submissions/${submission}`);
          const counts = {records: 0, predicted: 0, rejected: 0, failed: 0, residues: 0};
          const none = {shards: 0, shards_split: 0, batches: 0, batches_done: 0, records_found: 0};
          sent.set(upload, {upload, key: fields.key, status: "receiving", reason: null, model_version: null, results: null, progress: none, ...counts});
          return upload;
        } catch (error) {
          if (error.status !== 404) throw error;
          await new Promise((resolve) => setTimeout(resolve, PAUSE));
        }
      }
    },
  };
}
