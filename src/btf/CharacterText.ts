/**
 * Text in arrays of `char`, and what is told apart from it: bytes that no one meant to be read.
 */

/** Longest text that is put together from its codes, which is fastest for short ones. */
const SHORT_TEXT = 64

/** The text up to a NUL; `undefined` where the bytes have control characters or are no UTF-8. */
export const readCharacters = (view: DataView, start: number, end: number): string | undefined => {
  let at = start
  let ascii = true
  for (; at < end; at++) {
    const byte = view.getUint8(at)
    if (byte === 0) break
    if (byte >= 0x80) ascii = false
    else if (byte === 0x7f || (byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d)) return undefined
  }
  if (ascii && at - start <= SHORT_TEXT) {
    let text = ""
    for (let index = start; index < at; index++) text += characters[view.getUint8(index)] ?? ""
    return text
  }
  try {
    return strictUtf8.decode(new Uint8Array(view.buffer, view.byteOffset + start, at - start))
  } catch {
    // A fatal decoder has no other way to say that the bytes are no UTF-8.
    return undefined
  }
}

const characters: ReadonlyArray<string> = Array.from({ length: 0x80 }, (_, code) => String.fromCharCode(code))

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
