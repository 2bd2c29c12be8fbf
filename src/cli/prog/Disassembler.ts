/**
 * Machine code taken apart: by Capstone (compiled to WebAssembly), where it is installed, for the processors that it is used for.
 *
 * It is an optional dependency, loaded with the first use. Operands are in the order and the notation of AT&T on x86-64, as bpftool
 * has them.
 */
import * as Effect from "effect/Effect"
import { createRequire } from "node:module"

/** One instruction of a processor. */
export interface MachineInsn {
  /** Bytes from the beginning of the function. */
  readonly pc: number
  readonly length: number
  readonly operation: string
  readonly operands: ReadonlyArray<string>
}

/** Takes the machine code of a function apart, of which the first byte is at this address; the whole of it. */
export type Disassemble = (code: Uint8Array, address: bigint) => ReadonlyArray<MachineInsn>

const packageName = "@alexaltea/capstone-js"

/** What is used of the library. */
interface Capstone {
  readonly Capstone: new(architecture: number, mode: number) => Engine
}

interface Engine {
  readonly option: (option: number, value: unknown) => void
  readonly disasm: (code: Uint8Array, address: bigint) => unknown
  readonly close: () => void
}

const isLoader = (value: unknown): value is () => Promise<unknown> => typeof value === "function"

const isCapstone = (value: unknown): value is Capstone =>
  typeof value === "object" && value !== null && typeof Reflect.get(value, "Capstone") === "function"

/** The library's number of this name; -1, which it refuses, where it has none. */
const constant = (library: Capstone, name: string): number => {
  const value: unknown = Reflect.get(library, name)
  return typeof value === "number" ? value : -1
}

/** Which constants of the library stand for a processor, as Node calls it, and how many bytes its shortest instruction has. */
const architectures: Readonly<Record<string, readonly [architecture: string, mode: string, shortest: number]>> = {
  x64: ["ARCH_X86", "MODE_64", 1],
  arm64: ["ARCH_ARM64", "MODE_LITTLE_ENDIAN", 4]
}

/** Operands at the commas between them, not at those within parentheses and brackets. */
export const operandsOf = (text: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  let depth = 0
  let from = 0
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === "(" || character === "[" || character === "{") depth++
    else if (character === ")" || character === "]" || character === "}") depth--
    else if (character === "," && depth === 0) {
      found.push(text.slice(from, at).trim())
      from = at + 1
    }
  }
  const last = text.slice(from).trim()
  return last === "" ? found : [...found, last]
}

const hex = (byte: number): string => `0x${byte.toString(16).padStart(2, "0")}`

/** Bytes that are no instruction, as many as the shortest of the processor has. */
const noInsn = (code: Uint8Array, pc: number, shortest: number): MachineInsn => {
  const bytes = code.subarray(pc, pc + shortest)
  return { pc, length: bytes.length, operation: ".byte", operands: Array.from(bytes, hex) }
}

const text = (value: object, key: string): string => {
  const found: unknown = Reflect.get(value, key)
  return typeof found === "string" ? found : ""
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

/** The objects of what should be a list of them. */
const listOf = (value: unknown): ReadonlyArray<object> => {
  const list: ReadonlyArray<unknown> = Array.isArray(value) ? value : []
  return list.filter(isObject)
}

/** Bytes that are given to the library at once: what it stops at would be given to it again with all that follows. */
const room = 1024

/** The longest instruction of any processor here, bytes. */
const longestInsn = 16

/** Takes code apart; what it cannot take apart is bytes. */
const take = (engine: Engine, shortest: number, code: Uint8Array, address: bigint): ReadonlyArray<MachineInsn> => {
  const insns: Array<MachineInsn> = []
  let pc = 0
  while (pc < code.length) {
    const end = Math.min(code.length, pc + room)
    let found: unknown
    try {
      found = engine.disasm(code.subarray(pc, end), address + BigInt(pc))
    } catch {
      // Nothing of what is left is an instruction.
      found = []
    }
    const before = pc
    for (const each of listOf(found)) {
      const size: unknown = Reflect.get(each, "size")
      if (typeof size !== "number" || size < 1 || pc + size > code.length) break
      insns.push({ pc, length: size, operation: text(each, "mnemonic"), operands: operandsOf(text(each, "op_str")) })
      pc += size
    }
    // The last instruction may go on behind what was given.
    const isCut = pc > before && end < code.length && end - pc < longestInsn
    if (pc >= end || isCut) continue
    const rest = noInsn(code, pc, shortest)
    insns.push(rest)
    pc += rest.length
  }
  return insns
}

/**
 * What takes code of this machine apart, for the length of a scope; `undefined` where the library is not installed, or not used
 * for this processor.
 */
export const make = (architecture: string = process.arch) =>
  Effect.gen(function*() {
    const names = architectures[architecture]
    if (names === undefined) return undefined
    const library = yield* Effect.orElseSucceed(
      Effect.tryPromise(async (): Promise<unknown> => {
        const load: unknown = createRequire(import.meta.url)(packageName)
        return isLoader(load) ? await load() : undefined
      }),
      () => undefined
    )
    if (!isCapstone(library)) return undefined
    const open = Effect.acquireRelease(
      Effect.try(() => new library.Capstone(constant(library, names[0]), constant(library, names[1]))),
      (engine) => Effect.sync(() => engine.close())
    ).pipe(
      Effect.tap((engine) =>
        architecture === "x64"
          ? Effect.try(() => engine.option(constant(library, "OPT_SYNTAX"), constant(library, "OPT_SYNTAX_ATT")))
          : Effect.void
      )
    )
    // One that was built without this processor is as good as none.
    const engine = yield* Effect.orElseSucceed(open, () => undefined)
    if (engine === undefined) return undefined
    const [, , shortest] = names
    const disassemble: Disassemble = (code, address) => take(engine, shortest, code, address)
    return disassemble
  })
