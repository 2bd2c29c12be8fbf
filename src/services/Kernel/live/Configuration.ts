/**
 * Files of a kernel's configuration: the text of its `.config`, packed (`/proc/config.gz`) or not.
 */
import * as Result from "effect/Result"
import * as Zlib from "node:zlib"

/** The configuration unpacked has a quarter of a megabyte; one of more bytes than this is none. */
export const maximumLength = 64 << 20

/** The text in a file; the failure is a phrase for people. */
export const unpack = (bytes: Uint8Array): Result.Result<string, string> => {
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b
  if (!isGzip) return Result.succeed(utf8.decode(bytes))
  try {
    return Result.succeed(utf8.decode(Zlib.gunzipSync(bytes, { maxOutputLength: maximumLength })))
  } catch {
    return Result.fail("the file is damaged")
  }
}
