// What is looked at stands in the address behind `#`, so that a link shows another person the same.
import {useEffect, useState} from "./ui.js";

const NAMES = ["upload", "q", "sort", "protein", "columns"];

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(NAMES.map((name) => [name, given.get(name) || ""]));
}

function write(state, replace) {
  const given = new URLSearchParams(Object.entries(state).filter(([, value]) => value));
  const hash = `#${given.toString()}`;
  if (hash === location.hash || (hash === "#" && !location.hash)) return;
  if (replace) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
}

export function useAddress() {
  const [state, setState] = useState(read);
  useEffect(() => {
    const changed = () => setState(read());
    addEventListener("popstate", changed);
    addEventListener("hashchange", changed);
    return () => {
      removeEventListener("popstate", changed);
      removeEventListener("hashchange", changed);
    };
  }, []);
  const go = (change, {replace = false} = {}) => {
    const next = {...read(), ...change};
    write(next, replace);
    setState(next);
  };
  return [state, go];
}
