/** The element with this id. */
export function element<K extends keyof HTMLElementTagNameMap>(id: string, _kind: K): HTMLElementTagNameMap[K] {
  return document.getElementById(id) as HTMLElementTagNameMap[K];
}

/** Shows elements by their ids, or hides them. */
export function show(shown: boolean, ...ids: string[]): void {
  for (const id of ids) element(id, "div").hidden = !shown;
}

/** Marks a step as done, or as begun again. */
export function mark(id: string, done: boolean): void {
  element(id, "section").classList.toggle("done", done);
}

/** Sets a bar and what stands beside it. */
export function bar(id: string, done: number, all: number, text: string): void {
  const progress = element(id, "progress");
  progress.max = Math.max(all, 1);
  progress.value = done;
  element(`${id}-text`, "output").textContent = text;
}

/** A number of bytes for people. */
export function bytes(count: number): string {
  if (count >= 1e6) return `${(count / 1e6).toFixed(count >= 1e7 ? 0 : 1)} MB`;
  return count >= 1e3 ? `${Math.round(count / 1e3)} kB` : `${count} bytes`;
}

/** Seconds since `begun`, of `performance.now()`. */
export function since(begun: number): string {
  const seconds = (performance.now() - begun) / 1000;
  return `${seconds.toFixed(seconds < 10 ? 2 : 0)} s`;
}

/** Lets the page be drawn before work that takes a while. */
export const drawn = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 0)));
