/**
 * The settings of a running kernel that say who may use bpf(2), and how programs are compiled.
 */
import * as Result from "effect/Result"
import * as Errno from "../../abi/Errno.ts"
import type { Setting } from "../../FeatureReport.ts"
import type { Files } from "../Files.ts"

const paths: ReadonlyArray<string> = [
  "/proc/sys/kernel/unprivileged_bpf_disabled",
  "/proc/sys/net/core/bpf_jit_enable",
  "/proc/sys/net/core/bpf_jit_harden",
  "/proc/sys/net/core/bpf_jit_kallsyms",
  "/proc/sys/net/core/bpf_jit_limit"
]

/** Such a file holds a number and a newline. */
const maximumLength = 64

const numberOf = (bytes: Uint8Array): number | undefined => {
  const text = new TextDecoder().decode(bytes).trim()
  return /^-?[0-9]{1,15}$/.test(text) ? Number(text) : undefined
}

/** The settings as the files say now. */
export const read = (files: Files): ReadonlyArray<Setting> =>
  paths.map((path): Setting => {
    const name = path.slice(path.lastIndexOf("/") + 1)
    const bytes = files.read(path, maximumLength)
    if (Result.isFailure(bytes)) return { name, value: undefined, errno: Errno.fromNumber(bytes.failure) }
    const value = numberOf(bytes.success)
    return value === undefined ? { name, value, errno: "EBADMSG" } : { name, value }
  })
