/**
 * What of a loader program is signed, and what the kernel compares.
 *
 * Two forms exist. The kernel of 2026 puts the frozen data of the loader's map behind its instructions and checks the signature
 * of both. The one before checks the signature of the instructions alone, which compare the SHA-256 of the data, as the kernel
 * has computed it, with the one that is written in them.
 *
 * Source: reference page `gen-loader`, section 11.
 */
import { sha256 } from "../../internal/Sha256.ts"
import type { LoaderProgram, Signed } from "./LoaderProgram.ts"

/** The bytes that a signature of a loader is of. */
export const signedBytes = (
  { data, insns }: Pick<LoaderProgram, "data" | "insns">,
  covers: Signed["covers"]
): Uint8Array => {
  if (covers === "insns") return insns
  const bytes = new Uint8Array(insns.length + data.length)
  bytes.set(insns)
  bytes.set(data, insns.length)
  return bytes
}

/** The digest by which the kernel knows the only program that may use the loader's map: SHA-256 of the instructions. */
export const exclusiveHash = ({ insns }: Pick<LoaderProgram, "insns">): Uint8Array => sha256(insns)

/** A signature may have so many bytes; the kernel's own limit is one of its caches. */
export const MAX_SIGNATURE = 4096
