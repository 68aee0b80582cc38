// Small help with the page's elements. The one rule: text gets in as text, never as markup.

export const byId = (id) => document.getElementById(id);

/** Make an element: its classes, its text or its children. */
export function make(tag, className = "", content = []) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (typeof content === "string") element.textContent = content;
  else element.append(...content);
  return element;
}

/** The same in SVG, with attributes. */
export function draw(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Set a text; what has not changed is left alone, for readers that tell what changes. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Let the parent have exactly these children in this order; those that stay are not touched, and keep the focus. */
export function arrange(parent, wanted) {
  const stay = new Set(wanted);
  for (const child of [...parent.children]) if (!stay.has(child)) child.remove();
  let here = parent.firstElementChild;
  for (const child of wanted) {
    if (child === here) here = here.nextElementSibling;
    else parent.insertBefore(child, here);
  }
}

/** Do this once before the next frame is drawn, however often it is asked for. */
export function oncePerFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}

/** A colour's angle for a name, always the same. */
export function hueOf(name) {
  let hash = 0;
  for (const char of name) hash = Math.imul(hash ^ char.codePointAt(0), 0x9e3779b1);
  return ((hash >>> 0) / 2 ** 32) * 360;
}
