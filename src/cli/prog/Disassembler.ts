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

const isCapstone = (value: unknown): value is Capstone =>
  typeof value === "object" && value !== null && typeof Reflect.get(value, "Capstone") === "function"

const constant = (library: Capstone, name: string): number => {
  const value: unknown = Reflect.get(library, name)
  if (typeof value !== "number") throw new Error(`capstone has no ${name}`)
  return value
}

/** Which constants of the library stand for a processor, as Node calls it. */
const architectures: Readonly<Record<string, readonly [architecture: string, mode: string]>> = {
  x64: ["ARCH_X86", "MODE_64"],
  arm64: ["ARCH_ARM64", "MODE_LITTLE_ENDIAN"]
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

/** A byte that is no instruction. */
const lone = (code: Uint8Array, pc: number): MachineInsn => ({
  pc,
  length: 1,
  operation: ".byte",
  operands: [hex(code[pc] ?? 0)]
})

const text = (value: object, key: string): string => {
  const found: unknown = Reflect.get(value, key)
  return typeof found === "string" ? found : ""
}

/** Bytes that are given to the library at once: what it stops at would be given to it again with all that follows. */
const room = 1024

/** The longest instruction of any processor here, bytes. */
const longestInsn = 16

/** Takes code apart; where it cannot, byte by byte. */
const take = (engine: Engine, code: Uint8Array, address: bigint): ReadonlyArray<MachineInsn> => {
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
    for (const each of Array.isArray(found) ? found : []) {
      const size: unknown = typeof each === "object" && each !== null ? Reflect.get(each, "size") : undefined
      if (typeof size !== "number" || size < 1 || pc + size > code.length) break
      insns.push({ pc, length: size, operation: text(each, "mnemonic"), operands: operandsOf(text(each, "op_str")) })
      pc += size
    }
    // The last instruction may go on behind what was given.
    const isCut = pc > before && end < code.length && end - pc < longestInsn
    if (pc < end && !isCut) insns.push(lone(code, pc++))
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
        return typeof load === "function" ? await load() : undefined
      }),
      () => undefined
    )
    if (!isCapstone(library)) return undefined
    const engine = yield* Effect.acquireRelease(
      Effect.sync(() => new library.Capstone(constant(library, names[0]), constant(library, names[1]))),
      (engine) => Effect.sync(() => engine.close())
    )
    if (architecture === "x64") engine.option(constant(library, "OPT_SYNTAX"), constant(library, "OPT_SYNTAX_ATT"))
    const disassemble: Disassemble = (code, address) => take(engine, code, address)
    return disassemble
  })
