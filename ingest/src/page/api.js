// The way to the server: JSON with a time limit, and the server's clock.

const TIMEOUT_MS = 8_000;
let ahead_ms = 0;

/** The server's time now; ages are measured against it, not against this computer's clock. */
export const serverNow = () => Date.now() + ahead_ms;

/** Takes the server's clock from an answer that just came. */
export function setServerNow(now_ms) {
  ahead_ms = now_ms - Date.now();
}

/** Fetches JSON. An error of the server's own has `answered` set and carries its message. */
export async function getJson(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS), headers: { accept: 'application/json' } });
  const body = await response.json().catch(() => null);
  if (!response.ok || body === null) {
    const error = new Error(body?.error?.message ?? `HTTP ${response.status}`);
    error.answered = true;
    throw error;
  }
  return body;
}
