/**
 * HTML as data: text is escaped where it is put into a page, and nowhere else can anything be put in.
 */

/** Finished HTML. Made by `html` and `raw` alone. */
export interface Html {
  readonly parts: ReadonlyArray<string>
}

/** What a template takes: text, which is escaped, or HTML. */
export type Content = string | number | Html | ReadonlyArray<Content>

const escapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "\"": "&quot;",
  "'": "&#39;"
}

/**
 * Characters that a page must not have, and those that turn the direction of text, which could show a name as another one.
 */
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Surrogate}\ufeff]/gu

/** Text for the inside of an element or of a quoted attribute. */
export const escape = (text: string): string =>
  text.replaceAll(/[&<>"']/g, (character) => escapes[character] ?? "").replaceAll(
    unprintable,
    (character) => character === "\n" ? "\n" : `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`
  )

const isList = (content: Content): content is ReadonlyArray<Content> => Array.isArray(content)

const put = (content: Content, into: Array<string>): void => {
  if (typeof content === "string") into.push(escape(content))
  else if (typeof content === "number") into.push(String(content))
  else if (isList(content)) { for (const each of content) put(each, into) }
  else for (const part of content.parts) into.push(part)
}

/** A template: what stands in it is HTML, what is put into it is escaped unless it is HTML already. */
export const html = (strings: TemplateStringsArray, ...contents: ReadonlyArray<Content>): Html => {
  const parts: Array<string> = [strings[0] ?? ""]
  for (const [position, content] of contents.entries()) {
    put(content, parts)
    parts.push(strings[position + 1] ?? "")
  }
  return { parts }
}

/** The bytes of a page. */
export const encode = ({ parts }: Html): Uint8Array => new TextEncoder().encode(parts.join(""))
