// Requests of the page to a server, whose problems come back as errors in the server's own words.

function refused(status, reply) {
  return Object.assign(new Error(reply?.detail || `The server answered ${status}.`), {status});
}

// Asks for JSON. Throws an error with the `status` of an answer that is none.
export async function askJson(address, request) {
  const answer = await fetch(address, {cache: "no-store", ...request});
  const reply = await answer.json().catch(() => ({}));
  if (answer.ok) return reply;
  throw refused(answer.status, reply);
}

// Sends a body, telling `progress` of the bytes sent and of all; gives the JSON of the answer, or null where it is none.
// By XMLHttpRequest, since fetch does not say how much is sent.
export function postBody(address, body, progress, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.onprogress = (event) => progress(event.loaded, event.total);
    request.onerror = () => reject(new Error("no answer"));
    request.onload = () => (request.status < 300 ? resolve(request.response) : reject(refused(request.status, request.response)));
    request.send(body);
  });
}
