/**
 * What holds for the virtual machine whatever it is given: an outcome within its budget and its regions; the same outcome
 * however the budget is divided and whoever watches; and law 5: laying out subprograms keeps meaning.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Encode from "../../src/insn/Encode.ts"
import * as Insn from "../../src/insn/Insn.ts"
import * as C from "../../src/insn/InsnConstants.ts"
import type { BpfObject, Program, Relocation } from "../../src/stages/open/BpfObject.ts"
import * as Layout from "../../src/stages/relocate/Layout.ts"
import * as Vm from "../../src/vm/Vm.ts"
import { runs, runsToMeet } from "../support/Require.ts"
import * as Pipeline from "../unit/stages/Pipeline.ts"
import { makeWorld, type World, wellFormed } from "../unit/vm/world.ts"

const BUDGET = 2000

/** What is wrong with a run of this code in this world; nothing, for any code. */
const wrong = (world: World, insns: Uint8Array): ReadonlyArray<string> => {
  const decoded = world.decode(insns)
  if (Result.isFailure(decoded)) return decoded.failure instanceof Vm.VmError ? [] : ["not a VmError"]
  const { machine } = world
  const regions = machine.memory.next
  world.start(decoded.success)
  const outcome = world.finish(BUDGET)
  const found: Array<string> = []
  if (outcome._tag === "Fault" && !(outcome.error instanceof Vm.VmError)) found.push("not a VmError")
  if (outcome._tag === "Fault" && outcome.error.message.length === 0) found.push("a fault without words")
  // A helper may charge more than is left: 3 at most.
  if (machine.executed > BUDGET + 3) found.push(`${machine.executed} instructions of ${BUDGET}`)
  if (machine.memory.next !== regions) found.push("the memory grew")
  const damage = world.damage()
  if (damage.length > 0) found.push(`bytes ${damage.join()} were written`)
  return found
}

const bytes = fc.uint8Array({ minLength: 0, maxLength: 400, size: "max" })

describe("the virtual machine", () => {
  it("answers any bytes with a value or a tagged error, within its budget and its regions", () => {
    fc.assert(
      fc.property(bytes, (insns) => assert.deepStrictEqual(wrong(makeWorld(), insns), [])),
      { numRuns: runs(10_000) }
    )
  })

  it("runs any code that decodes to a value or a tagged error, within its budget and its regions", () => {
    const seen = new Map<string, number>()
    fc.assert(
      fc.property(bytes, (seed) => {
        const insns = wellFormed(seed)
        const world = makeWorld()
        assert.deepStrictEqual(wrong(world, insns), [])
        assert.isTrue(Result.isSuccess(world.decode(insns)))
        const { fault, status } = world.machine
        const what = fault?.reason ?? status
        seen.set(what, (seen.get(what) ?? 0) + 1)
      }),
      { numRuns: runsToMeet(10_000) }
    )
    // The programs are of some use only if they end in many ways.
    for (const what of ["Done", "NotMapped", "OutOfBounds", "NotWritable", "BadAccess", "Ready", "Helper"]) {
      assert.isAbove(seen.get(what) ?? 0, 0, `${what} among ${JSON.stringify([...seen])}`)
    }
  })

  it("named fault: a region that is 8 bytes too long, and stores that go astray, are seen", () => {
    const insns = Encode.program(
      Encode.ldMapValue(6, 0, 0),
      Encode.st(C.BPF_DW, 6, 61, -1),
      Encode.mov64Imm(0, 0),
      Encode.exit()
    )
    assert.deepStrictEqual(wrong(makeWorld(), insns), [])
    assert.deepStrictEqual(wrong(makeWorld({ fault: 8 }), insns), [
      "bytes 128,129,130,131,132,133,134,135 were written"
    ])
  })

  it("comes to the same however the budget is divided, and whoever watches", () => {
    fc.assert(
      fc.property(bytes, fc.integer({ min: 1, max: 50 }), (seed, chunk) => {
        const insns = wellFormed(seed)
        let traced = 0
        const worlds = [
          { world: makeWorld(), chunk: BUDGET },
          { world: makeWorld(), chunk },
          { world: makeWorld({ trace: () => traced++ }), chunk: chunk * 3 }
        ]
        const [whole, ...divided] = worlds.map(({ chunk, world }) => {
          world.start(Result.getOrThrow(world.decode(insns)))
          const outcome = world.finish(BUDGET, chunk)
          const { error, r0, tag } = outcome._tag === "Done"
            ? { tag: "Done", r0: outcome.r0, error: "" }
            : { tag: outcome._tag, r0: 0n, error: outcome._tag === "Fault" ? outcome.error.message : "" }
          return { tag, r0, error, executed: world.machine.executed, state: world.state() }
        })
        for (const other of divided) assert.deepStrictEqual(other, whole)
        assert.isAtMost(traced, whole?.executed ?? 0)
      }),
      { numRuns: runs(3000) }
    )
  })
})

// Law 5

/** A function of a random object: arithmetic on its arguments and on what functions after it return. */
interface Body {
  readonly seed: ReadonlyArray<readonly [number, number, number]>
  readonly calls: ReadonlyArray<number>
}

const body: fc.Arbitrary<Body> = fc.record({
  seed: fc.array(fc.tuple(fc.nat(11), fc.integer({ min: 1, max: 1000 }), fc.nat(3)), { maxLength: 6 }),
  calls: fc.array(fc.nat(5), { maxLength: 3 })
})

const operations = [C.BPF_ADD, C.BPF_SUB, C.BPF_MUL, C.BPF_XOR, C.BPF_OR] as const

/** Instructions of function `index` of `count`, and the slots and callees of its calls. */
const functionOf = (body: Body, index: number, count: number) => {
  const insns: Array<Uint8Array> = []
  const calls: Array<{ readonly at: number; readonly to: number }> = []
  insns.push(Encode.mov64Reg(6, 1), Encode.mov64Imm(7, index), Encode.stx(C.BPF_DW, 10, 1, -8))
  for (const [op, imm, dst] of body.seed) {
    insns.push(Encode.alu64Imm(operations[op % operations.length] ?? C.BPF_ADD, dst === 0 ? 6 : 7, imm))
  }
  for (const call of body.calls) {
    // Only forwards, so that it ends, and with a gap of 6 at most, so that it does not nest too deeply.
    const to = index + 1 + call
    if (to >= count) continue
    insns.push(Encode.mov64Reg(1, 6), Encode.alu64Reg(C.BPF_ADD, 1, 7))
    calls.push({ at: insns.length, to })
    insns.push(Encode.callSubprogram(-1), Encode.alu64Reg(C.BPF_XOR, 7, 0), Encode.alu64Imm(C.BPF_MUL, 7, 31))
  }
  insns.push(
    Encode.ldx(C.BPF_DW, 0, 10, -8),
    Encode.alu64Reg(C.BPF_ADD, 0, 6),
    Encode.alu64Reg(C.BPF_XOR, 0, 7),
    Encode.exit()
  )
  return { insns: Encode.program(...insns), calls }
}

/** The functions as programs of an object, each at a place of its section, in the order of `order`. */
const objectOf = (bodies: ReadonlyArray<Body>, order: ReadonlyArray<number>): BpfObject => {
  const functions = bodies.map((body, index) => functionOf(body, index, bodies.length))
  const starts = new Map<number, number>()
  let end = 0
  for (const index of order) {
    starts.set(index, end)
    end += Insn.count(functions[index]?.insns ?? new Uint8Array())
  }
  const object = Pipeline.opened("subprograms.bpf.o")
  const model = object.programs[0]
  assert.isDefined(model)
  const programs = order.map((index): Program => {
    const { calls, insns } = functions[index] ?? { calls: [], insns: new Uint8Array() }
    const relocations = calls.map(({ at, to }): Relocation => ({
      _tag: "Call",
      at,
      section: 1,
      slot: starts.get(to) ?? 0
    }))
    const sectionSlot = starts.get(index) ?? 0
    return {
      ...model,
      name: `f${index}`,
      insns,
      relocations,
      sectionIndex: 1,
      sectionSlot,
      sectionSlots: Insn.count(insns)
    }
  })
  return { ...object, programs }
}

interface Ran {
  readonly r0: bigint
  readonly executed: number
}

const machine = () => {
  const made = Vm.make()
  assert.isDefined(made)
  return made
}

/** Before layout: each function is a program of its own, and a call is a call of the host, which runs the other program. */
const apart = (bodies: ReadonlyArray<Body>, argument: bigint): Ran => {
  const programs = bodies.map((body, index) => {
    const { calls, insns } = functionOf(body, index, bodies.length)
    for (const { at, to } of calls) {
      Insn.setSrc(insns, at, C.BPF_PSEUDO_KFUNC_CALL)
      Insn.setImm(insns, at, to)
    }
    return Result.getOrThrow(Vm.decode(insns, { name: `f${index}` }))
  })
  let executed = 0
  const call = (index: number, argument: bigint): bigint => {
    const program = programs[index]
    assert.isDefined(program)
    const alone = machine()
    Vm.start(alone, program, [argument])
    let outcome = Vm.run(alone, 1e6)
    while (outcome._tag === "Calls") outcome = Vm.resume(alone, call(outcome.call.id, outcome.call.args[0]), 1e6)
    executed += alone.executed
    if (outcome._tag !== "Done") throw new Error(outcome._tag)
    return outcome.r0
  }
  return { r0: call(0, argument), executed }
}

/** After layout: one program. */
const laidOut = (object: BpfObject, argument: bigint, change: (insns: Uint8Array) => void = () => {}): Ran | string => {
  const entry = object.programs.findIndex((program) => program.name === "f0")
  const { insns } = Layout.layOut(object, entry)
  change(insns)
  const one = machine()
  Vm.start(one, Result.getOrThrow(Vm.decode(insns)), [argument])
  const result = Vm.complete(one, 1e7)
  return Result.isSuccess(result) ? { r0: result.success, executed: one.executed } : result.failure.reason
}

/** Frames that a call of function 0 needs. */
const depthOf = (bodies: ReadonlyArray<Body>): number => {
  const depths: Array<number> = []
  for (let index = bodies.length - 1; index >= 0; index--) {
    const callees = functionOf(bodies[index] ?? { seed: [], calls: [] }, index, bodies.length).calls
    depths[index] = 1 + Math.max(0, ...callees.map(({ to }) => depths[to] ?? 0))
  }
  return depths[0] ?? 0
}

const law5 = fc.array(body, { minLength: 1, maxLength: 12 }).filter((bodies) => depthOf(bodies) <= 8).chain((bodies) =>
  fc.tuple(
    fc.constant(bodies),
    fc.shuffledSubarray([...bodies.keys()], { minLength: bodies.length, maxLength: bodies.length }),
    fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn })
  )
)

describe("law 5", () => {
  it("subprograms laid out in one program return what they return apart, in any order of the file", () => {
    fc.assert(
      fc.property(law5, ([bodies, order, argument]) => {
        assert.deepStrictEqual(laidOut(objectOf(bodies, order), argument), apart(bodies, argument))
      }),
      { numRuns: runs(500) }
    )
  })

  it("named fault: a call that is one slot off, and one that leads to another function, are seen", () => {
    const bodies: ReadonlyArray<Body> = [
      { seed: [[0, 5, 0]], calls: [0, 1] },
      { seed: [[2, 7, 0]], calls: [] },
      { seed: [[0, 9, 0]], calls: [] }
    ]
    const object = objectOf(bodies, [2, 0, 1])
    const before = apart(bodies, 77n)
    assert.deepStrictEqual(laidOut(object, 77n), before)
    const at = functionOf(bodies[0] ?? { seed: [], calls: [] }, 0, 3).calls[0]?.at ?? 0
    const shifted = (by: number) => laidOut(object, 77n, (insns) => Insn.setImm(insns, at, Insn.imm(insns, at) + by))
    assert.notDeepEqual(shifted(1), before)
    assert.notDeepEqual(shifted(Insn.count(functionOf(bodies[1] ?? { seed: [], calls: [] }, 1, 3).insns)), before)
  })
})
