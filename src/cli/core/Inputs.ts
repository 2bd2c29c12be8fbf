/**
 * What the arguments of `core check` name: objects, and kernels.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import { EM_BPF } from "../../services/Elf/Elf.ts"
import { readFile } from "../../services/Elf/ElfService.ts"
import type { KernelFile, ObjectFile } from "./Checker.ts"

/** Where the running kernel shows its own types. */
const kernelFolder = "/sys/kernel/btf"

const isThere = Effect.fnUntraced(function*(path: string) {
  const fileSystem = yield* FileSystem.FileSystem
  return yield* Effect.orElseSucceed(fileSystem.exists(path), () => false)
})

/** A kernel that a flag names: a path, or a name of what the running kernel shows where there is no such file. */
export const kernelPath = Effect.fnUntraced(function*(argument: string) {
  const shown = `${kernelFolder}/${argument}`
  return !argument.includes("/") && !(yield* isThere(argument)) && (yield* isThere(shown)) ? shown : argument
})

const HEAD = 20

/**
 * Whether a path that stands among the objects is a kernel's: a folder, raw BTF, or an ELF file of another machine. A shell
 * makes `--btf *.btf` a flag with one file, and more files behind it.
 */
export const isKernel = Effect.fnUntraced(function*(path: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const stat = yield* Effect.option(fileSystem.stat(path))
  if (stat._tag === "None") return false
  if (stat.value.type === "Directory") return true
  if (stat.value.type !== "File") return false
  const head = yield* Effect.scoped(
    Effect.flatMap(fileSystem.open(path, { flag: "r" }), (file) => file.readAlloc(HEAD))
  ).pipe(Effect.option)
  const bytes = head._tag === "Some" && head.value._tag === "Some" ? head.value.value : new Uint8Array()
  const [a = 0, b = 0, c = 0, d = 0] = bytes
  if ((a === 0x9f && b === 0xeb) || (a === 0xeb && b === 0x9f)) return true
  if (bytes.length < HEAD || a !== 0x7f || b !== 0x45 || c !== 0x4c || d !== 0x46) return false
  const machine = new DataView(bytes.buffer, bytes.byteOffset).getUint16(18, bytes[5] !== 2)
  // Before there was a number for BPF, compilers wrote 0.
  return machine !== EM_BPF && machine !== 0
})

/** Bytes that threads share instead of copying them. */
const shared = (bytes: Uint8Array): Uint8Array => {
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length))
  copy.set(bytes)
  return copy
}

/** Reads an object file. One that cannot be read is no failure: it has a row, too. */
export const readObject = Effect.fnUntraced(function*(path: string) {
  const bytes = yield* Effect.result(readFile(yield* FileSystem.FileSystem, path))
  return bytes._tag === "Success"
    ? { path, bytes: shared(bytes.success), problem: undefined } satisfies ObjectFile
    : { path, bytes: undefined, problem: bytes.failure.message } satisfies ObjectFile
})

/** Parts of a path, the last one first, without those that name no kernel. */
const telling = (path: string): ReadonlyArray<string> => {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".").toReversed()
  const [first, second] = parts
  if (first === "vmlinux" && second === "btf") return path.startsWith(kernelFolder) ? ["running"] : parts.slice(2)
  return first === "vmlinux" && second !== undefined ? parts.slice(1) : parts
}

/** What a path is called: its last part without the ending, as much more of it as tells it from the others. */
const nameOf = (path: string, length: number): string =>
  telling(path).slice(0, length).toReversed().join("/").replace(/\.(btf|elf|o)$/, "") || path

/** The longest name that a path is given. */
const MAX_PARTS = 8

/**
 * Names of kernels, and their order: by names, numbers in them by their value, so that 6.12 comes after 6.6. A path that is
 * given twice counts once.
 */
export const named = (paths: ReadonlyArray<string>): ReadonlyArray<KernelFile> => {
  const unique = [...new Set(paths)]
  const names = new Map<string, string>()
  const taken = new Set<string>()
  let open: ReadonlyArray<string> = unique
  for (let length = 1; open.length > 0 && length <= MAX_PARTS; length++) {
    const candidates = open.map((path) => nameOf(path, length))
    const count = new Map<string, number>()
    for (const name of candidates) count.set(name, (count.get(name) ?? 0) + 1)
    for (const [position, path] of open.entries()) {
      const name = candidates[position] ?? path
      if (count.get(name) === 1 && !taken.has(name)) names.set(path, name)
    }
    for (const name of names.values()) taken.add(name)
    open = open.filter((path) => !names.has(path))
  }
  const collator = new Intl.Collator("en", { numeric: true })
  return unique.map((path) => ({ path, name: names.get(path) ?? path })).sort((one, other) =>
    collator.compare(one.name, other.name)
  )
}
