// Where the page's data comes from: out of the document itself, from the server of `protloc open`, or from the API.
import {team} from "./team/home.js";

export function makeHome() {
  return {live, report, team}[document.documentElement.dataset.home]();
}

function report() {
  return {live: false, load: async () => JSON.parse(document.getElementById("data").textContent)};
}

function live() {
  const ask = async (path) => {
    const answer = await fetch(path, {credentials: "same-origin", cache: "no-store"});
    const found = await answer.json().catch(() => ({}));
    if (answer.ok) return found;
    const lost = answer.status === 401 || answer.status === 403;
    throw new Error(lost ? "This page was opened in another browser, or its command has ended. Type “protloc open” again." : found.detail || `The server answered ${answer.status}.`);
  };
  return {
    live: true,
    early: true, // it has rows of an upload in work
    uploads: () => ask("api/uploads"),
    view: (upload) => ask(`api/uploads/${encodeURIComponent(upload)}`),
    load: (upload) => ask(`api/uploads/${encodeURIComponent(upload)}/data`),
    explain: (upload, offset) => ask(`api/uploads/${encodeURIComponent(upload)}/predictions/${offset}/explanation`),
    download: (upload, format) => `api/uploads/${encodeURIComponent(upload)}/results?format=${format}`,
    // XMLHttpRequest, since fetch does not say how much is sent.
    send: (body, name, progress) => new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", `api/uploads?name=${encodeURIComponent(name)}`);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.responseType = "json";
      request.upload.onprogress = (event) => progress(event.loaded, event.total);
      request.onerror = () => reject(new Error("The file could not be sent: the server of this page does not answer."));
      request.onload = () => (request.status === 202 ? resolve(request.response.upload) : reject(new Error(request.response?.detail || `The server answered ${request.status}.`)));
      request.send(body);
    }),
  };
}
