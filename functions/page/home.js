// Where the page's data comes from: out of the document itself, from the server of `protloc open`, or from the API.
import {askJson, postBody} from "./http.js";
import {team} from "./team/home.js";

export function makeHome() {
  return {live, report, team}[document.documentElement.dataset.home]();
}

function report() {
  return {live: false, load: async () => JSON.parse(document.getElementById("data").textContent)};
}

function live() {
  const ask = (path) => askJson(path, {credentials: "same-origin"}).catch((error) => {
    const lost = error.status === 401 || error.status === 403;
    throw lost ? new Error("This page was opened in another browser, or its command has ended. Type “protloc open” again.") : error;
  });
  const path = (upload) => `api/uploads/${encodeURIComponent(upload)}`;
  return {
    live: true,
    early: true, // it has rows of an upload in work
    uploads: () => ask("api/uploads"),
    view: (upload) => ask(path(upload)),
    load: (upload) => ask(`${path(upload)}/data`),
    explain: (upload, offset) => ask(`${path(upload)}/predictions/${offset}/explanation`),
    download: (upload, format) => `${path(upload)}/results?format=${format}`,
    async send(body, name, progress) {
      const address = `api/uploads?name=${encodeURIComponent(name)}`;
      const {upload} = await postBody(address, body, progress, {"Content-Type": "application/octet-stream"}).catch((error) => {
        throw error.status ? error : new Error("The file could not be sent: the server of this page does not answer.");
      });
      return upload;
    },
  };
}
