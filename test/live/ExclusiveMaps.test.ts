/** Maps that one program has to itself: by the digest of its instructions. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { createHash } from "node:crypto"
import { KernelError, VerifierError } from "../../src/services/Kernel/KernelError.ts"
import type { KernelSymbol } from "../../src/services/Kernel/KernelCall.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import * as ProgramDigest from "../../src/services/Kernel/ProgramDigest.ts"
import { mainCalls } from "../../src/stages/load/LoadPlan.ts"
import { PlanError } from "../../src/stages/load/PlanError.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import { openDescriptors } from "../support/LiveKernel.ts"
import { type EditOf, loadFixture, planFixture } from "../support/LoadFixture.ts"
import { describeWith } from "../support/Require.ts"

/** A fixture with several programs that use one map. */
const name = "tracepoint.bpf.o"

const forAlone = (map: string, program: string | null): EditOf => (object) =>
  Edit.setMap(object, map, { exclusiveTo: program })

/** The fixture's programs, and one of its maps that more than one of them uses. */
const shape = Effect.gen(function*() {
  const kernel = yield* KernelLive.make
  const { plan, relocated } = yield* planFixture(name, { kernel })
  const users = new Map<number, Array<string>>()
  for (const { code, program } of relocated.programs) {
    for (const ref of code.refs) {
      if (ref._tag === "SymbolRef") continue
      const known = users.get(ref.map.index) ?? []
      const program_ = relocated.object.programs[program]?.name ?? ""
      if (!known.includes(program_)) users.set(ref.map.index, [...known, program_])
    }
  }
  const [index, programs] = [...users].find(([, names]) => names.length > 1) ?? assert.fail("no map is shared")
  return { plan, map: relocated.object.maps[index]?.name ?? "", owner: programs[0] ?? "", other: programs[1] ?? "" }
})

/** Whether this kernel knows such maps: it shows that in the types of its own. */
const known = Effect.gen(function*() {
  const { map, owner } = yield* shape
  const loaded = yield* Effect.result(Effect.scoped(loadFixture(name, {
    edits: [(object) => Edit.loadOnly(object, [owner]), forAlone(map, owner)]
  })))
  if (Result.isSuccess(loaded)) return true
  const error = loaded.failure
  if (!(error instanceof KernelError)) return assert.fail(String(error))
  assert.strictEqual(error.call, "MapCreate")
  assert.include(["E2BIG", "EINVAL"], error.errno)
  assert.match(error.hint ?? "", /this kernel knows no maps for one program alone/)
  return false
})

describeWith({ kind: "live" }, "maps for one program alone", () => {
  it.live("are used by that program, and refused to others; old kernels say that they know none", () =>
    Effect.gen(function*() {
      const before = openDescriptors()
      if (yield* known) {
        const { map, other, owner } = yield* shape
        const error = yield* Effect.flip(Effect.scoped(loadFixture(name, {
          edits: [(object) => Edit.loadOnly(object, [owner, other]), forAlone(map, owner)]
        })))
        if (!(error instanceof VerifierError)) return assert.fail(String(error))
        assert.deepStrictEqual([error.program, error.errno], [other, "EACCES"])
        assert.match(error.log, /hash doesn't match/)
      }
      assert.deepStrictEqual(openDescriptors(), before)
    }))

  it.live("are so on the simulated kernel", () =>
    Effect.gen(function*() {
      const { map, other, owner } = yield* shape
      const load = (...edits: ReadonlyArray<EditOf>) =>
        Effect.gen(function*() {
          const { kernel } = yield* KernelSimulated.make()
          return yield* Effect.scoped(loadFixture(name, { kernel, edits }))
        })
      yield* load((object) => Edit.loadOnly(object, [owner]), forAlone(map, owner))
      yield* load(forAlone(map, owner), forAlone(map, null))
      const error = yield* Effect.flip(load((object) => Edit.loadOnly(object, [owner, other]), forAlone(map, owner)))
      if (!(error instanceof VerifierError)) return assert.fail(String(error))
      assert.deepStrictEqual([error.program, error.errno], [other, "EACCES"])
    }))

  it.live("are planned with the SHA-256 of the instructions, in which references to maps are zero", () =>
    Effect.gen(function*() {
      const { map, owner } = yield* shape
      const kernel = yield* KernelLive.make
      const { object, plan } = yield* planFixture(name, { kernel, edits: [forAlone(map, owner)] })
      const calls = mainCalls(plan)
      const created = calls.find((call) => call._tag === "MapCreate" && call.exclusiveTo !== undefined)
      const load = calls.find((call) => call._tag === "ProgLoad" && object.programs[call.as.index]?.name === owner)
      if (created?._tag !== "MapCreate" || load?._tag !== "ProgLoad") return assert.fail("the plan has no such calls")
      const insns = new Uint8Array(load.code.insns)
      for (const ref of load.code.refs) {
        assert.notStrictEqual(ref._tag, "SymbolRef")
        insns.fill(0, ref.at * 8 + 4, ref.at * 8 + 8)
        insns.fill(0, ref.at * 8 + 12, ref.at * 8 + 16)
      }
      const hash = new Uint8Array(createHash("sha256").update(insns).digest())
      assert.deepStrictEqual(created.exclusiveTo?.hash, hash)
      // Named fault: with the references left in, it would be another.
      insns[load.code.refs[0] === undefined ? 4 : load.code.refs[0].at * 8 + 4] = 1
      assert.notDeepEqual(new Uint8Array(createHash("sha256").update(insns).digest()), hash)
    }))

  it.live.each(["xdp_firewall", "global_data", "subprograms", "ksyms", "externs", "core_reads", "map_in_map"])(
    "%s: the digest begins with the tag that the kernel gives the program",
    (fixture) =>
      Effect.gen(function*() {
        // Kernels that know no such maps take the tag from another digest.
        if (!(yield* known)) return
        yield* Effect.scoped(Effect.gen(function*() {
          const loaded = yield* loadFixture(`${fixture}.bpf.o`)
          const loads = mainCalls(loaded.plan).filter((call) => call._tag === "ProgLoad")
          assert.isAbove(loads.length, 0)
          for (const { as, code } of loads) {
            const { tag } = yield* loaded.session.call({ _tag: "ProgGetInfo", prog: as })
            const digest = Result.getOrThrowWith(ProgramDigest.of(code), (why) => new Error(why))
            assert.strictEqual(Buffer.from(digest).toString("hex").slice(0, 16), tag)
          }
        }))
      })
  )

  it("have no digest where instructions are only known when they are loaded", () => {
    const load = Uint8Array.of(0x18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    const symbol = (resolved?: KernelSymbol["resolved"]): KernelSymbol => ({
      name: "it",
      kind: "Var",
      weak: true,
      ...(resolved === undefined ? {} : { resolved })
    })
    const of = (resolved?: KernelSymbol["resolved"]) =>
      ProgramDigest.of({ insns: load, refs: [{ _tag: "SymbolRef", at: 0, symbol: symbol(resolved) }] })
    assert.deepStrictEqual(of(), Result.fail("it refers to it, which is only looked up when it is loaded"))
    assert.deepStrictEqual(of({ owner: "veth", id: 3 }), Result.fail("it refers to it of module veth"))
    const known = [of({ owner: "vmlinux", id: 3 }), of({ address: 7n }), of({ absent: true })].map(Result.getOrThrow)
    assert.strictEqual(new Set(known.map((digest) => Buffer.from(digest).toString("hex"))).size, 3)
    const records = { recordSize: 16, records: new Uint8Array(16) }
    assert.isTrue(Result.isFailure(ProgramDigest.of({ insns: load, refs: [], coreRelocations: records })))
  })

  it.live("need their program to be loaded", () =>
    Effect.gen(function*() {
      const { map, other, owner } = yield* shape
      const kernel = yield* KernelLive.make
      const error = yield* Effect.flip(planFixture(name, {
        kernel,
        edits: [(object) => Edit.loadOnly(object, [other]), forAlone(map, owner)]
      }))
      assert.isTrue(error instanceof PlanError && error.reason === "Exclusive", String(error))
      const unknown = yield* Effect.flip(planFixture(name, { kernel, edits: [forAlone(map, "nobody")] }))
      assert.isTrue(unknown instanceof Edit.EditError && unknown.reason === "NoSuchProgram", String(unknown))
    }))
})
