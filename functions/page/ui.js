// What the page's parts are written with: preact, its hooks, and htm's templates.
import {h, render} from "./vendor/preact.js";
import {useEffect, useLayoutEffect, useMemo, useRef, useState} from "./vendor/hooks.js";
import htm from "./vendor/htm.js";

const html = htm.bind(h);

export {html, render, useEffect, useLayoutEffect, useMemo, useRef, useState};
