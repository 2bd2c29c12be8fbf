/**
 * Where a skeleton's object file is: in the module itself, or in a file beside it.
 */
import * as Effect from "effect/Effect"
import { ObjectUnreadable } from "./SkeletonFailure.ts"

/** The bytes of an object file, or where they can be read. */
export type ObjectSource =
  | { readonly _tag: "Embedded"; readonly base64: () => string }
  | { readonly _tag: "Beside"; readonly url: string }

/** An object in the module, in base64. */
export const embedded = (base64: () => string): ObjectSource => ({ _tag: "Embedded", base64 })

/** The address of a module, as its `import.meta` says it. */
const addressOf = (meta: object): string => "url" in meta && typeof meta.url === "string" ? meta.url : ""

/** An object in a file whose name is relative to the module. `meta` is the module's `import.meta`. */
export const beside = (file: string, meta: object): ObjectSource => {
  const base = addressOf(meta)
  const folder = base.slice(0, base.lastIndexOf("/") + 1)
  const path = file.split("/").map((part) => encodeURIComponent(part)).join("/")
  return { _tag: "Beside", url: `${folder}${path}` }
}

const fromBase64 = (text: string): Uint8Array => {
  const binary = atob(text)
  const bytes = new Uint8Array(binary.length)
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at)
  return bytes
}

const reasonOf = (thrown: unknown): string => thrown instanceof Error ? thrown.message : String(thrown)

/** Reads a URL: files by Node, everything else by what the platform fetches with. */
const readUrl = async (url: string): Promise<Uint8Array> => {
  if (url.startsWith("file:")) {
    const { readFile } = await import("node:fs/promises")
    return new Uint8Array(await readFile(new URL(url)))
  }
  const response = await fetch(url)
  if (!response.ok) throw new Error(`the server answers ${response.status}`)
  return new Uint8Array(await response.arrayBuffer())
}

/** The bytes of an object file. */
export const read = (source: ObjectSource): Effect.Effect<Uint8Array, ObjectUnreadable> => {
  switch (source._tag) {
    case "Embedded":
      return Effect.sync(() => fromBase64(source.base64()))
    case "Beside": {
      const { url } = source
      return Effect.tryPromise({
        try: () => readUrl(url),
        catch: (thrown) => new ObjectUnreadable({ url, detail: reasonOf(thrown) })
      })
    }
  }
}
