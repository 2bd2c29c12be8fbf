/**
 * Law 3 with clang on both sides: programs that clang compiled for structs at random, relocated against types that clang
 * made of what became of them in a kernel, access what clang's own constants say. And the model of C's layout that other
 * tests of the law use is right: it puts every field where clang does. Both byte orders.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import * as Insn from "../../src/insn/Insn.ts"
import { BPF_B } from "../../src/insn/InsnConstants.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import type { Order } from "../support/arbitrary/BtfBlob.ts"
import * as CoreC from "../support/CoreC.ts"
import { relocateObject } from "../support/CoreBeside.ts"
import { describeWith, runs } from "../support/Require.ts"
import {
  bitten,
  bytesOf,
  type Experiment,
  isSigned,
  removed,
  renamedField,
  resized,
  varied
} from "../unit/stages/relocate/core/Accesses.ts"
import * as Structs from "../unit/stages/relocate/core/Structs.ts"

/** Positions of the bits that are set: from the lowest of each byte upwards, or from the highest downwards. */
const bitsOf = (mask: Uint8Array, order: Order): ReadonlyArray<number> => {
  const found: Array<number> = []
  for (let at = 0; at < mask.length * 8; at++) {
    const shift = order === "little" ? at & 7 : 7 - (at & 7)
    if (((mask[at >> 3] ?? 0) >> shift & 1) === 1) found.push(at)
  }
  return found
}

/** What a load of `bytes` at `offset` gives. */
const loaded = (memory: Uint8Array, offset: number, bytes: number, order: Order): bigint => {
  let value = 0n
  for (let index = 0; index < bytes; index++) {
    const at = order === "little" ? bytes - 1 - index : index
    value = value << 8n | BigInt(memory[offset + at] ?? 0)
  }
  return value
}

/** All bits but those of the mask. */
const others = (mask: Uint8Array): Uint8Array => mask.map((byte) => ~byte & 0xff)

/** What an outcome is about: the field's path in its struct. */
const pathOf = ({ path }: Core.CoreOutcome): string => path.slice(path.indexOf(".") + 1)

/** Where the relocated program accesses something else than clang's constants say, as lines. */
const breaks = (
  { insns, outcomes }: Core.Relocated,
  mine: CoreC.Placing,
  theirs: CoreC.Placing,
  order: Order
): ReadonlyArray<string> => {
  const lines: Array<string> = []
  const asked = new Map<string, Map<Core.CoreKind, number>>()
  for (const outcome of outcomes) {
    const { kind, result, slot } = outcome
    const path = pathOf(outcome)
    const there = theirs.fields.get(path)
    const complain = (what: string): void => void lines.push(`${path}, ${kind} at ${slot}: ${what}`)
    const isLoad = Insn.insnClass(insns, slot) === 1 || (result._tag === "Poisoned" && result.why === "Resized")
    if (there === undefined) {
      if (kind === "field_exists" ? Insn.imm(insns, slot) !== 0 : result._tag !== "Poisoned") {
        complain("it is not there")
      }
      continue
    }
    if (isLoad) {
      const here = mine.fields.get(path)?.type ?? there.type
      const changed = bytesOf(here) !== bytesOf(there.type) && (isSigned(here) || isSigned(there.type))
      const cannot = there.type._tag === "Bits" || changed
      if ((result._tag === "Poisoned") !== cannot) complain(`it is ${result._tag}`)
      else if (there.mask === undefined) {
        // The first element of an array: clang asks for the array.
        if (Insn.offset(insns, slot) !== there.offset) complain(`it loads at ${Insn.offset(insns, slot)}`)
      } else if (!cannot) {
        const [offset, size] = [Insn.offset(insns, slot), Insn.sizeInBytes(insns, slot)]
        if (size !== there.size) complain(`it loads ${size} bytes of ${there.size}`)
        if (loaded(there.mask, offset, size, order) !== BigInt.asUintN(size * 8, -1n)) {
          complain("it loads something else")
        }
        if (loaded(others(there.mask), offset, size, order) !== 0n) complain("it loads more than the field")
      }
      continue
    }
    const answers = asked.get(path) ?? new Map<Core.CoreKind, number>()
    asked.set(path, answers.set(kind, Insn.imm(insns, slot)))
  }
  for (const [path, answers] of asked) {
    const there = theirs.fields.get(path)
    if (there === undefined) continue
    const answer = (kind: Core.CoreKind): number => answers.get(kind) ?? -1
    const complain = (what: string): void => void lines.push(`${path}: ${what}`)
    if (answer("field_exists") !== 1) complain("it is there")
    if (there.offset !== undefined && answer("byte_off") !== there.offset) {
      complain(`the offset is ${answer("byte_off")}, and clang's ${there.offset}`)
    }
    if (there.size !== undefined && answer("byte_sz") !== there.size) {
      complain(`the size is ${answer("byte_sz")}, and clang's ${there.size}`)
    }
    if (there.mask === undefined || !answers.has("lshift_u64")) continue
    const read = (memory: Uint8Array): bigint => {
      const word = loaded(memory, answer("byte_off"), answer("byte_sz"), order) << BigInt(answer("lshift_u64"))
      return BigInt.asUintN(64, word) >> BigInt(answer("rshift_u64"))
    }
    const bits = bitsOf(there.mask, order).length
    if (read(there.mask) !== (1n << BigInt(bits)) - 1n) complain("shifting gives too little")
    if (read(others(there.mask)) !== 0n) complain("shifting gives more than the field")
    if (answers.has("signed") && answer("signed") !== (isSigned(there.type) ? 1 : 0)) {
      complain(`signed is ${answer("signed")}`)
    }
  }
  return lines
}

/** So many of each kind of experiment. */
const sample = (count: number): ReadonlyArray<Experiment> =>
  [varied, varied, removed, renamedField, resized, bitten].flatMap((experiments, index) =>
    fc.sample(experiments, { numRuns: runs(count), seed: Number(process.env["FC_SEED"] ?? 1) + index })
      .map(CoreC.compilable)
  )

describeWith({ kind: "oracle", tools: ["clang", "llvm-nm"] }, "law 3 with clang on both sides", () => {
  for (const order of ["little", "big"] as const) {
    describe(`${order}-endian`, () => {
      const experiments = sample(12)
      const compiled = CoreC.compileAll(experiments, order)
      const object = Result.getOrThrow(Open.fromBytes(compiled.object, { path: "programs.o" }))
      const kernel = Result.getOrThrow(Btf.parse(compiled.kernel))
      const programs = relocateObject(object, Core.target(kernel))

      /** All lines; the experiment before each. */
      const all = (
        relocated: (index: number) => Core.Relocated,
        used: Order = order
      ): { readonly lines: ReadonlyArray<string>; readonly outcomes: number } => {
        const lines: Array<string> = []
        let outcomes = 0
        compiled.layouts.forEach(({ mine, theirs }, index) => {
          const done = relocated(index)
          outcomes += done.outcomes.length
          lines.push(...breaks(done, mine, theirs, used).map((line) => `experiment ${index}: ${line}`))
        })
        return { lines, outcomes }
      }
      const ours = (index: number): Core.Relocated => {
        const program = programs.find(({ name }) => name === `p${index}`)
        if (program === undefined) throw new Error(`no program p${index}`)
        return Result.getOrThrow(program.result)
      }

      it("every access is of the field that it names", () => {
        const { lines, outcomes } = all(ours)
        assert.deepStrictEqual(lines, [])
        assert.isAbove(outcomes, experiments.length * 10)
      })

      it("the model of C's layout is clang's", () => {
        experiments.forEach((experiment, index) => {
          for (const side of ["mine", "theirs"] as const) {
            const model = Structs.struct("s", experiment[side])
            const placing = compiled.layouts[index]?.[side]
            assert.strictEqual(model.bytes, placing?.bytes, `experiment ${index}, ${side}`)
            for (const [path, { bit, type }] of model.places) {
              const what = `experiment ${index}, ${side}, ${path}`
              const there = placing?.fields.get(path)
              if (type._tag !== "Bits") assert.strictEqual(bit, (there?.offset ?? -1) * 8, what)
              if (there?.mask === undefined) continue
              const bits = type._tag === "Bits" ? type.bits : (bytesOf(type) ?? 0) * 8
              assert.deepStrictEqual(bitsOf(there.mask, order), Array.from({ length: bits }, (_, at) => bit + at), what)
            }
            assert.strictEqual(model.places.size, placing?.fields.size)
          }
        })
      })

      it("named fault: nothing is relocated", () => {
        const stale = (index: number): Core.Relocated => {
          const { insns, outcomes } = ours(index)
          const before = object.programs.find(({ name }) => name === `p${index}`)?.insns ?? insns
          return { insns: before, outcomes }
        }
        assert.isNotEmpty(all(stale).lines)
      })
      it("named fault: shifts count in the other byte order", () => {
        assert.isNotEmpty(all(ours, order === "little" ? "big" : "little").lines)
      })
      it("named fault: every load is of one byte", () => {
        const narrow = (index: number): Core.Relocated => {
          const { insns, outcomes } = ours(index)
          const spoiled = insns.slice()
          for (const { kind, slot } of outcomes) {
            if (kind === "byte_off" && Insn.insnClass(spoiled, slot) === 1) Insn.setSize(spoiled, slot, BPF_B)
          }
          return { insns: spoiled, outcomes }
        }
        assert.isNotEmpty(all(narrow).lines)
      })
      it("named fault: every access is a byte further", () => {
        const further = (index: number): Core.Relocated => {
          const { insns, outcomes } = ours(index)
          const spoiled = insns.slice()
          for (const { kind, slot } of outcomes) {
            if (kind === "byte_off" && Insn.insnClass(spoiled, slot) === 1) {
              Insn.setOffset(spoiled, slot, Insn.offset(spoiled, slot) + 1)
            }
          }
          return { insns: spoiled, outcomes }
        }
        assert.isNotEmpty(all(further).lines)
      })
    })
  }
})
