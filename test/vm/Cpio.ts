/**
 * Archives of files in the format that the kernel unpacks an initramfs from: cpio "newc", as the kernel's
 * Documentation/driver-api/early-userspace/buffer-format.rst writes it down. Archives may be put one after another.
 */

/** A file of an archive. Paths are relative to the root; the folders above an entry are made where they are missing. */
export type Entry =
  | { readonly _tag: "File"; readonly path: string; readonly bytes: Uint8Array; readonly executable: boolean }
  | { readonly _tag: "Folder"; readonly path: string }
  | { readonly _tag: "Link"; readonly path: string; readonly target: string }

const FOLDER = 0o040755
const FILE = 0o100644
const EXECUTABLE = 0o100755
const LINK = 0o120777

const text = new TextEncoder()

/** The folders above a path, outermost first. */
const above = (path: string): ReadonlyArray<string> => {
  const parts = path.split("/").slice(0, -1)
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"))
}

const padding = (length: number): Uint8Array => new Uint8Array((4 - (length & 3)) & 3)

/** A header with its name, padded to 4 bytes. All numbers are 8 digits in base 16. */
const header = (ino: number, mode: number, links: number, size: number, name: string): Uint8Array => {
  const nameBytes = text.encode(`${name}\0`)
  const fields = [ino, mode, 0, 0, links, 0, size, 0, 0, 0, 0, nameBytes.length, 0]
  const head = text.encode(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`)
  const out = new Uint8Array(head.length + nameBytes.length + padding(head.length + nameBytes.length).length)
  out.set(head)
  out.set(nameBytes, head.length)
  return out
}

/**
 * The parts of an archive, in order; written one after another they are the file. Bytes of files are not copied. The
 * length is a multiple of 4, so that the next archive may follow at once. All belongs to root, times are zero.
 */
export const archive = (entries: Iterable<Entry>): ReadonlyArray<Uint8Array> => {
  const parts: Array<Uint8Array> = []
  const folders = new Set<string>()
  let ino = 0
  const folder = (path: string): void => {
    if (folders.has(path)) return
    folders.add(path)
    parts.push(header(++ino, FOLDER, 2, 0, path))
  }
  const content = (path: string, mode: number, bytes: Uint8Array): void => {
    parts.push(header(++ino, mode, 1, bytes.length, path), bytes, padding(bytes.length))
  }
  for (const entry of entries) {
    for (const each of above(entry.path)) folder(each)
    if (entry._tag === "Folder") folder(entry.path)
    else if (entry._tag === "Link") content(entry.path, LINK, text.encode(entry.target))
    else content(entry.path, entry.executable ? EXECUTABLE : FILE, entry.bytes)
  }
  parts.push(header(0, 0, 1, 0, "TRAILER!!!"))
  return parts
}
