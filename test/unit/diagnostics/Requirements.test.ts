/** What objects need of the kernel, and since when it is there. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Requirements from "../../../src/diagnostics/Requirements.ts"
import * as Guards from "../../../src/diagnostics/requirements/Guards.ts"
import { helperReleases, ofHelper, ofHelperIn } from "../../../src/diagnostics/requirements/HelperReleases.ts"
import * as Instructions from "../../../src/diagnostics/requirements/Instructions.ts"
import { compare, isIn, later, since } from "../../../src/diagnostics/requirements/Release.ts"
import { Gathering, isEnough, oldestOf } from "../../../src/diagnostics/requirements/Requirement.ts"
import * as Types from "../../../src/diagnostics/requirements/TypeReleases.ts"
import * as Insn from "../../../src/insn/Insn.ts"
import * as C from "../../../src/insn/InsnConstants.ts"
import { helperCount, helperId, helperName } from "../../../src/insn/Helpers.ts"
import { AttachType, MapType, ProgType } from "../../../src/services/Kernel/abi/BpfConstants.ts"
import type { BpfObject, Program } from "../../../src/stages/open/BpfObject.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import * as Reachability from "../../../src/stages/relocate/Reachability.ts"
import { objects as coreObjects } from "../../support/CoreObjects.ts"
import * as Mutate from "../../support/Mutate.ts"
import { allFixtures, fixture } from "../../support/Require.ts"

const open = (name: string): BpfObject => Result.getOrThrow(Open.fromBytes(fixture(name), { path: name }))

const objects = (): ReadonlyArray<BpfObject> =>
  allFixtures().flatMap((name) => {
    const opened = Open.fromBytes(fixture(name), { path: name })
    return Result.isSuccess(opened) ? [opened.success] : []
  })

const of = (name: string): Requirements.Requirements => Requirements.ofObject(open(name))

const named = ({ all }: Requirements.Requirements, name: string): ReadonlyArray<Requirements.Requirement> =>
  all.filter((each) => each.name === name)

describe("Requirements", () => {
  it("tells the oldest kernel for an object, and what makes it that", () => {
    const oldest = (name: string) => {
      const { attach, load } = of(name)
      return [load.release, load.because.map((each) => each.name).join(" "), attach.release]
    }
    assert.deepStrictEqual(oldest("pinned_map.bpf.o")[0], "3.19")
    assert.deepStrictEqual(oldest("map_in_map_late.bpf.o"), ["4.12", "BPF_MAP_TYPE_ARRAY_OF_MAPS", "4.12"])
    assert.deepStrictEqual(oldest("xdp_firewall.bpf.o"), ["5.12", "atomics", "5.12"])
    assert.deepStrictEqual(oldest("trace_events.bpf.o"), [
      "5.8",
      "bpf_ringbuf_output BPF_MAP_TYPE_RINGBUF",
      "5.8"
    ])
    assert.deepStrictEqual(oldest("exceptions.bpf.o"), ["6.7", "bpf_throw", "6.7"])
    assert.deepStrictEqual(oldest("struct_ops_link.bpf.o"), ["6.4", "BPF_F_LINK", "6.4"])
    assert.deepStrictEqual(oldest("arena.bpf.o")[0], "6.9")
  })

  it("says who needs it: program, function, instruction, line of C, map", () => {
    const { all } = of("xdp_firewall.bpf.o")
    const [atomics] = all
    assert.strictEqual(atomics?.kind, "instruction")
    const [use] = atomics?.uses ?? []
    assert.strictEqual(use?.program, "xdp_firewall")
    assert.include(use?.source?.text ?? "", "__sync")
    const maps = all.filter(({ kind }) => kind === "map-type").flatMap(({ uses }) => uses.map(({ map }) => map))
    assert.includeMembers(maps, ["stats"])
    for (const { count, uses } of all) {
      assert.isAtMost(uses.length, Requirements.maximumUses)
      assert.isAtLeast(count, uses.length)
      assert.isNotEmpty(uses)
    }
  })

  it("does not count what the object checks for, what a load replaces, and what only programs need that are left out", () => {
    const usdt = of("usdt.bpf.o")
    // Behind LINUX_HAS_BPF_COOKIE.
    const [cookie] = named(usdt, "bpf_get_attach_cookie")
    assert.strictEqual(cookie?.since, "5.15")
    assert.isFalse(cookie?.required)
    assert.include(cookie?.otherwise ?? "", "checks")
    const [read] = named(usdt, "bpf_probe_read_kernel")
    assert.isFalse(read?.required)
    assert.include(read?.otherwise ?? "", "bpf_probe_read()")
    // Each place once.
    assert.strictEqual(named(usdt, "globalData")[0]?.count, 4)
    const [output] = named(usdt, "bpf_ringbuf_output")
    assert.isFalse(output?.required)
    assert.strictEqual(usdt.load.release, "5.8")
    const ksyms = of("ksyms.bpf.o")
    const [missing] = named(ksyms, "there_is_no_such_function")
    assert.isFalse(missing?.required)
    assert.isUndefined(missing?.since)
    // Weak, too, and required all the same: it is called where another function was looked for.
    assert.isTrue(named(ksyms, "bpf_rcu_read_lock")[0]?.required)
  })

  it("turned on, a program counts", () => {
    const object = open("usdt.bpf.o")
    const on = { ...object, programs: object.programs.map((each) => ({ ...each, autoload: each.entry })) }
    assert.isTrue(named(Requirements.ofObject(on), "bpf_ringbuf_output")[0]?.required)
  })

  it("tells of attaching apart from loading", () => {
    const { attach, load } = of("attach/functions.bpf.o")
    assert.strictEqual(load.release, "5.19")
    assert.strictEqual(attach.release, "6.10")
    assert.include(attach.because.map(({ name }) => name).join(), "SESSION")
  })

  it("has fewer needs with fewer programs", () => {
    for (const object of objects()) {
      const whole = Requirements.ofObject(object).load
      fc.assert(
        fc.property(fc.infiniteStream(fc.boolean()), (coins) => {
          const part = {
            ...object,
            programs: object.programs.map((each) => ({
              ...each,
              autoload: each.autoload && coins.next().value === true
            }))
          }
          const { load } = Requirements.ofObject(part)
          assert.isAtMost(compare(load.release ?? "0.0", whole.release ?? "0.0"), 0, object.name)
          assert.isAtMost(load.open.length, whole.open.length, object.name)
        }),
        { numRuns: 3 }
      )
    }
  })

  it("what is enough stays enough with each newer release", () => {
    const release = fc.tuple(fc.constantFrom(4, 5, 6), fc.integer({ min: 0, max: 20 }))
    const all = objects().map((object) => Requirements.ofObject(object))
    fc.assert(fc.property(release, fc.constantFrom(...all), ([major, minor], { all, load }) => {
      const loading = all.filter(({ when }) => when === "load")
      const enough = isEnough(loading, `${major}.${minor}`)
      if (enough === undefined) return
      assert.strictEqual(
        enough,
        load.open.length === 0 && compare(`${major}.${minor}`, load.release ?? "0.0") >= 0
      )
    }))
  })

  it("reads damaged objects without an accident", () => {
    const subjects = ["usdt.bpf.o", "ksyms.bpf.o", "struct_ops_shapes.bpf.o", "map_kinds.bpf.o"].map((name) =>
      Mutate.subject(name, fixture(name))
    )
    fc.assert(
      fc.property(fc.constantFrom(...subjects), Mutate.edits, (subject, edits) => {
        const opened = Open.fromBytes(Mutate.apply(subject, edits, subjects), { path: "mutant.o" })
        if (Result.isSuccess(opened)) Requirements.ofObject(opened.success)
      }),
      { numRuns: 60 }
    )
  })
})

describe("guards", () => {
  it("are what makes the difference", () => {
    // The named fault: a budget of nothing knows of no guard, and then all counts.
    const object = open("usdt.bpf.o")
    const asked = (budget: Reachability.Budget): number => {
      const guards = Guards.of(object, budget)
      let found = 0
      for (const program of guards.programs ?? []) {
        const needs: Array<{ readonly slot: number; readonly availability: Requirements.Availability }> = []
        Instructions.visit(program.code.insns, {
          feature: () => {},
          helper: (id, slot) => {
            if (helperName(id) === "bpf_get_attach_cookie") needs.push({ slot, availability: ofHelper(id) })
          }
        })
        found += guards.guarded(program, needs).size
      }
      return found
    }
    assert.isAbove(asked(Reachability.budget()), 0)
    assert.strictEqual(asked({ steps: 0, cells: 0 }), 0)
  })
})

describe("what an object checks for", () => {
  /** An object whose only program has these instructions, with what stands in the object otherwise. */
  const withCode = (object: BpfObject, insns: Uint8Array, relocations: Program["relocations"] = []): BpfObject => {
    const [first, ...others] = object.programs.filter(({ entry }) => entry)
    if (first === undefined) throw new Error("there is a program")
    const only = { ...first, insns, relocations, autoload: true }
    return {
      ...object,
      programs: object.programs.flatMap((each) => each === first ? [only] : others.includes(each) ? [] : [each])
    }
  }
  const needOf = (object: BpfObject, helper: string) =>
    Requirements.ofObject(object).all.find(({ name }) => name === helper)

  it("by CO-RE: what exists only on kernels that have it", () => {
    const record = coreObjects.find(({ name }) => name === "readPidGuarded")
    const object = Result.getOrThrow(Open.fromBytes(record?.bytes ?? new Uint8Array(), { path: "guarded.bpf.o" }))
    const [program] = object.programs
    // exists; if it is 0, the next is skipped; the next
    const code = (program?.insns ?? new Uint8Array()).slice()
    const loop = helperId("bpf_loop") ?? 0
    Insn.setSlot(code, 2, Insn.CALL, 0, 0, 0, loop)
    const guarded = needOf(withCode(object, code, program?.relocations), "bpf_loop")
    assert.deepInclude(guarded, { since: "5.17", required: false, otherwise: "guarded by the program's own checks" })
    // The named fault: the other way round, it is what a kernel without comes to.
    Insn.setOpcode(code, 1, C.BPF_JMP | C.BPF_JNE | C.BPF_K)
    assert.isTrue(needOf(withCode(object, code, program?.relocations), "bpf_loop")?.required)
  })

  it("by LINUX_KERNEL_VERSION: what only later releases come to", () => {
    const object = open("externs.bpf.o")
    const version = object.externs.findIndex(({ name }) => name === "LINUX_KERNEL_VERSION")
    const program = (from: number, helper: number): BpfObject => {
      const code = new Uint8Array(8 * 7)
      Insn.setSlot(code, 0, Insn.LD_IMM64, 1, 0, 0, 0)
      Insn.setSlot(code, 2, C.BPF_LDX | C.BPF_MEM | C.BPF_W, 1, 1, 0, 0)
      Insn.setSlot(code, 3, C.BPF_JMP | C.BPF_JLT | C.BPF_K, 1, 0, 1, from)
      Insn.setSlot(code, 4, Insn.CALL, 0, 0, 0, helper)
      Insn.setSlot(code, 5, C.BPF_ALU64 | C.BPF_MOV | C.BPF_K, 0, 0, 0, 0)
      Insn.setSlot(code, 6, Insn.EXIT, 0, 0, 0, 0)
      return withCode(object, code, [{ _tag: "Extern", at: 0, extern: version }])
    }
    const release = fc.tuple(fc.constantFrom(5, 6), fc.integer({ min: 0, max: 19 }))
    const helper = fc.integer({ min: 100, max: helperCount - 1 }).filter((id) => ![112, 113, 114, 115].includes(id))
    fc.assert(fc.property(release, helper, ([major, minor], id) => {
      const need = needOf(program(major * 0x10000 + minor * 0x100, id), helperName(id) ?? "")
      const came = ofHelperIn(id, ProgType.BPF_PROG_TYPE_SYSCALL).since ?? ""
      // Called from a release on that has it: no older kernel comes to it.
      assert.strictEqual(need?.required, compare(`${major}.${minor}`, came) < 0, `${helperName(id)} since ${came}`)
    }))
  })
})

describe("tables", () => {
  it("have each helper, and each type of programs", () => {
    for (let id = 1; id < helperCount; id++) assert.isDefined(ofHelper(id).since, helperName(id))
    assert.strictEqual(helperReleases.size, helperCount - 1)
    assert.isUndefined(ofHelper(helperCount).since)
    for (const [symbol, type] of Object.entries(ProgType)) {
      if (type !== 0) assert.isDefined(Types.ofProgramType(type).since, symbol)
    }
  })

  it("say of each map and attach type when it came, or that it is newer than all releases that were tried", () => {
    for (const [symbol, type] of Object.entries(MapType)) {
      const { after, since } = Types.ofMapType(type)
      if (type !== 0) assert.isTrue(since !== undefined || after === "6.18", symbol)
    }
    for (const [symbol, type] of Object.entries(AttachType)) {
      const { after, since } = Types.ofAttachType(type)
      assert.isTrue(since !== undefined || after === "6.18", symbol)
    }
  })

  it("give a type a helper no earlier than both exist", () => {
    for (let id = 1; id < helperCount; id++) {
      for (const type of Object.values(ProgType)) {
        const own = ofHelperIn(id, type)
        if (own.since !== undefined) assert.isAtLeast(compare(own.since, ofHelper(id).since ?? ""), 0)
      }
    }
    const cookie = helperId("bpf_get_netns_cookie") ?? 0
    assert.strictEqual(ofHelperIn(cookie, ProgType.BPF_PROG_TYPE_CGROUP_SKB).since, "6.15")
    assert.strictEqual(ofHelperIn(cookie, ProgType.BPF_PROG_TYPE_CGROUP_SOCK).since, "5.7")
  })

  it("name flags that they do not know", () => {
    assert.deepStrictEqual(Types.ofMapFlags(0x8000_0001).map(({ flag, since }) => [flag, since]), [
      ["BPF_F_NO_PREALLOC", "4.6"],
      ["flag 0x80000000", undefined]
    ])
  })
})

describe("releases", () => {
  it("are compared by their numbers", () => {
    assert.isBelow(compare("5.9", "5.10"), 0)
    assert.strictEqual(compare("6.1.0-47-cloud-amd64", "6.1"), 0)
    assert.isTrue(isIn(since("5.8"), "6.1.0-47-cloud-amd64"))
    assert.isFalse(isIn(since("6.9"), "6.1.0-47-cloud-amd64"))
    assert.isUndefined(isIn({ since: undefined, after: "6.1", by: "6.12" }, "6.6"))
    assert.isFalse(isIn({ since: undefined, after: "6.1", by: "6.12" }, "6.1"))
    assert.isTrue(isIn({ since: undefined, after: "6.1", by: "6.12" }, "6.12"))
    assert.isUndefined(isIn(since("5.8"), "next-20260101"))
    assert.strictEqual(later(since("5.8"), since("5.10")).since, "5.10")
    assert.isUndefined(later(since("5.8"), { since: undefined }).since)
  })
})

describe("instructions", () => {
  const insn = (opcode: number, { dst = 0, imm = 0, offset = 0, src = 0 } = {}): Uint8Array => {
    const code = new Uint8Array(8)
    Insn.setSlot(code, 0, opcode, dst, src, offset, imm)
    return code
  }
  const features = (...code: ReadonlyArray<Uint8Array>): ReadonlyArray<string> => {
    const found: Array<string> = []
    const whole = new Uint8Array(code.length * 8)
    code.forEach((each, slot) => whole.set(each, slot * 8))
    Instructions.visit(whole, { feature: (feature) => found.push(feature), helper: (id) => found.push(`${id}`) })
    return found
  }

  it("are told by what they do", () => {
    const atomic = C.BPF_STX | C.BPF_DW | C.BPF_ATOMIC
    assert.deepStrictEqual(features(insn(atomic, { imm: C.BPF_ADD })), [])
    assert.deepStrictEqual(features(insn(atomic, { imm: C.BPF_ADD | C.BPF_FETCH })), ["atomics"])
    assert.deepStrictEqual(features(insn(atomic, { imm: C.BPF_LOAD_ACQ })), ["acquireRelease"])
    assert.deepStrictEqual(features(insn(C.BPF_JMP32 | C.BPF_JEQ, { offset: 0 })), ["jumps32"])
    assert.deepStrictEqual(features(insn(C.BPF_JMP | C.BPF_JLT, { offset: 1 })), ["unsignedLess"])
    assert.deepStrictEqual(features(insn(C.BPF_JMP | C.BPF_JA, { offset: -1 })), ["loops"])
    assert.deepStrictEqual(features(insn(Insn.JCOND, { offset: -1 })), ["mayGoto"])
    assert.deepStrictEqual(features(insn(Insn.JA_INDIRECT)), ["indirectJumps"])
    assert.deepStrictEqual(features(insn(Insn.JA32, { imm: 1 })), ["version4"])
    assert.deepStrictEqual(features(insn(C.BPF_ALU64 | C.BPF_MOV | C.BPF_X, { offset: 8 })), ["version4"])
    assert.deepStrictEqual(features(insn(C.BPF_ALU64 | C.BPF_MOV | C.BPF_X, { offset: 1 })), ["addressSpaces"])
    assert.deepStrictEqual(features(insn(C.BPF_ALU64 | C.BPF_DIV, { offset: 1, imm: 2 })), ["version4"])
    assert.deepStrictEqual(features(insn(C.BPF_LDX | C.BPF_W | C.BPF_MEMSX)), ["version4"])
    assert.deepStrictEqual(features(insn(Insn.CALL, { imm: 14 })), ["14"])
    assert.deepStrictEqual(features(insn(Insn.CALL, { src: C.BPF_PSEUDO_CALL })), ["subprograms"])
    assert.deepStrictEqual(features(insn(Insn.EXIT), insn(Insn.LD_IMM64, { src: 4 }), insn(0)), ["callbacks"])
    assert.deepStrictEqual(features(...Array.from({ length: 4097 }, () => insn(Insn.EXIT))), ["largePrograms"])
  })
})

describe("Gathering", () => {
  const found = (required: boolean, map: string) => ({
    kind: "map-type" as const,
    name: "BPF_MAP_TYPE_HASH",
    since: "3.19",
    when: "load" as const,
    required,
    use: () => ({ map })
  })

  it("keeps what is required before what is not", () => {
    const into = new Gathering()
    for (const [required, map] of [[false, "a"], [true, "b"], [false, "c"], [true, "d"]] as const) {
      into.add(found(required, map))
    }
    const [one, ...more] = into.all()
    assert.isEmpty(more)
    assert.isTrue(one?.required)
    assert.deepStrictEqual(one?.uses, [{ map: "b" }, { map: "d" }])
    assert.strictEqual(oldestOf(into.all()).release, "3.19")
  })
})
