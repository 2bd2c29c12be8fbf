/** Kernel symbols in loaders: what is looked up, what instructions become, and which descriptors are closed. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Encode from "../../../../src/insn/Encode.ts"
import * as Insn from "../../../../src/insn/Insn.ts"
import * as Errno from "../../../../src/services/Kernel/abi/Errno.ts"
import type { CodeRef, KernelCall, KernelSymbol, ProgLoad } from "../../../../src/services/Kernel/KernelCall.ts"
import * as KernelFaulty from "../../../../src/services/Kernel/KernelFaulty.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import { assemble, type AssembleError, type AssembleOptions } from "../../../../src/stages/gen/Assemble.ts"
import type { LoaderProgram } from "../../../../src/stages/gen/LoaderProgram.ts"
import { type Lookup, replay, type Replayed, type ReplayOptions } from "../../../../src/stages/gen/Replay.ts"
import * as LedgerKernel from "../../../support/LedgerKernel.ts"
import { faults } from "../../../support/LoaderCheck.ts"

const symbol = (name: string, kind: KernelSymbol["kind"], more: Partial<KernelSymbol> = {}): KernelSymbol => ({
  name,
  kind,
  weak: false,
  ...more
})

/** A program that mentions symbols: calls for functions, 64-bit loads for the rest, into R1, R2 and so on by turns. */
const program = (index: number, symbols: ReadonlyArray<KernelSymbol>, more: Partial<ProgLoad> = {}): ProgLoad => {
  const insns: Array<Uint8Array> = []
  const refs: Array<CodeRef> = []
  let at = 0
  symbols.forEach((symbol, number) => {
    const isCall = symbol.kind === "Func"
    refs.push({ _tag: "SymbolRef", at, symbol, extern: number })
    const register = number % 2 === 0 ? 1 : 2
    insns.push(isCall ? Encode.callKfunc(-1) : Encode.ldImm64(register, 0x1122_3344_5566_7788n))
    at += isCall ? 1 : 2
  })
  return {
    _tag: "ProgLoad",
    as: Ref.prog(index),
    attr: {
      name: `prog${index}`,
      type: 5,
      expectedAttachType: 0,
      license: "GPL",
      kernelVersion: 0,
      flags: 0,
      ifindex: 0
    },
    code: { insns: Encode.program(...insns, Encode.mov64Imm(0, 0), Encode.exit()), refs },
    log: { level: 0 },
    ...more
  }
}

const loaderOf = (calls: ReadonlyArray<KernelCall>, options?: AssembleOptions): LoaderProgram => {
  const loader = Result.getOrThrow(assemble(calls, options))
  assert.deepStrictEqual(faults(loader), [])
  return loader
}

const errorOf = (...calls: ReadonlyArray<KernelCall>): AssembleError => {
  const result = assemble(calls)
  return Result.isFailure(result) ? result.failure : assert.fail("it was assembled")
}

/** Replays a loader on a ledger, of which an attempt may fail; nothing may leak or be closed twice. */
const run = (loader: LoaderProgram, options: ReplayOptions = {}, failsAt?: number): Replayed =>
  Effect.runSync(Effect.scoped(Effect.gen(function*() {
    const { kernel } = LedgerKernel.make({ byteOrder: loader.byteOrder })
    const whole = failsAt === undefined
      ? kernel
      : yield* KernelFaulty.make(kernel, failsAt, { _tag: "Answer", errno: "EPERM" })
    const replayed = yield* replay(loader, yield* whole.session(), options)
    const { leaked, leakedModules, strayCloses } = replayed
    assert.deepStrictEqual({ leaked, leakedModules, strayCloses }, { leaked: [], leakedModules: [], strayCloses: 0 })
    return replayed
  })))

/** The kernel has what is listed, as `name` or `module:name`. */
const having = (...names: ReadonlyArray<string>): ReplayOptions => ({
  find: ({ name }: Lookup) => {
    if (names.includes(name)) return {}
    const found = names.find((each) => each.endsWith(`:${name}`))
    return found === undefined ? undefined : { module: found.slice(0, found.indexOf(":")) }
  }
})

const loads = ({ calls }: Replayed): ReadonlyArray<ProgLoad> =>
  calls.filter((call): call is ProgLoad => call._tag === "ProgLoad")

/** What the instructions of the programs refer to: name and module by position. */
const mentioned = (replayed: Replayed): ReadonlyArray<ReadonlyArray<string>> =>
  loads(replayed).map(({ code }) =>
    code.refs.map((ref) =>
      ref._tag === "SymbolRef" ? `${ref.at} ${ref.symbol.kind} ${ref.symbol.module ?? ""}:${ref.symbol.name}` : ref._tag
    )
  )

const orders = ["little", "big"] as const

describe.each(orders)("symbols in loaders for %s-endian machines", (byteOrder) => {
  const assembled = (...calls: ReadonlyArray<KernelCall>) => loaderOf(calls, { byteOrder })

  it("functions are looked up once for each program, wherever they are", () => {
    const twice = symbol("bpf_twice", "Func")
    const other = symbol("bpf_other", "Func")
    const loader = assembled(program(0, [twice, other, twice]), program(1, [other]))
    const replayed = run(loader, having("m1:bpf_twice", "bpf_other"))
    assert.strictEqual(replayed.retval, 0)
    assert.deepStrictEqual(mentioned(replayed), [
      ["0 Func m1:bpf_twice", "1 Func :bpf_other", "2 Func m1:bpf_twice"],
      ["0 Func :bpf_other"]
    ])
    assert.deepStrictEqual(replayed.lookedUp.map(({ name }) => name), ["bpf_twice", "bpf_other", "bpf_other"])
  })

  it("functions of several modules have each their slot, which later programs use again", () => {
    const names = ["a", "b", "c"]
    const symbols = names.map((name) => symbol(name, "Func"))
    const replayed = run(
      assembled(program(0, symbols), program(1, [...symbols].reverse())),
      having("m:a", "n:b", "m:c")
    )
    assert.deepStrictEqual(mentioned(replayed), [
      ["0 Func m:a", "1 Func n:b", "2 Func m:c"],
      ["0 Func m:c", "1 Func n:b", "2 Func m:a"]
    ])
  })

  it("variables and addresses", () => {
    const symbols = [symbol("v", "Var"), symbol("a", "Address"), symbol("v", "Var"), symbol("f", "Func")]
    const replayed = run(assembled(program(0, symbols)), having("mod:v", "a", "mod:f"))
    assert.deepStrictEqual(mentioned(replayed), [["0 Var mod:v", "2 Address :a", "4 Var mod:v", "6 Func mod:f"]])
    assert.strictEqual(replayed.retval, 0)
  })

  it("a function that is called and whose address is taken is one look-up", () => {
    const f = symbol("f", "Func")
    const code = {
      insns: Encode.program(Encode.ldImm64(3, 0n), Encode.callKfunc(-1), Encode.exit()),
      refs: [{ _tag: "SymbolRef", at: 0, symbol: f }, { _tag: "SymbolRef", at: 2, symbol: f }]
    } as const
    const replayed = run(assembled(program(0, [], { code })), having("mod:f"))
    assert.deepStrictEqual(mentioned(replayed), [["0 Func mod:f", "2 Func mod:f"]])
    assert.strictEqual(replayed.lookedUp.length, 1)
  })

  it("weak ones that are missing become what a direct load makes of them", () => {
    const weak = { weak: true }
    const symbols = [symbol("f", "Func", weak), symbol("v", "Var", weak), symbol("a", "Address", weak)]
    const present = [symbol("g", "Func", weak), symbol("w", "Var", weak), symbol("b", "Address", weak)]
    const replayed = run(assembled(program(0, [...symbols, ...present])), having("mod:g", "mod:w", "b"))
    assert.strictEqual(replayed.retval, 0)
    const [load] = loads(replayed)
    if (load === undefined) return assert.fail("nothing was loaded")
    const { insns } = load.code
    // The call that no verifier takes where it can be reached, and zeroes.
    assert.deepStrictEqual([Insn.src(insns, 0), Insn.imm(insns, 0)], [0, 2_002_000_000])
    for (const at of [1, 3]) assert.deepStrictEqual([Insn.src(insns, at), Insn.imm64(insns, at)], [0, 0n])
    assert.deepStrictEqual([Insn.dst(insns, 1), Insn.dst(insns, 3)], [2, 1])
    assert.deepStrictEqual(mentioned(replayed), [["5 Func mod:g", "6 Var mod:w", "8 Address :b"]])
    assert.deepStrictEqual([Insn.dst(insns, 6), Insn.dst(insns, 8)], [1, 2])
  })

  it("a symbol that is weak in one place only is strong", () => {
    const loader = assembled(program(0, [symbol("f", "Func", { weak: true }), symbol("f", "Func")]))
    assert.strictEqual(run(loader, having()).retval, -Errno.numbers.ENOENT)
    assert.deepStrictEqual(mentioned(run(loader, having("m:f"))), [["0 Func m:f", "1 Func m:f"]])
  })

  it.each(["Func", "Var", "Address"] as const)(
    "a strong %s that is missing fails the load, and nothing stays open",
    (kind) => {
      const map: KernelCall = { _tag: "MapCreate", as: Ref.map(0), attr: LedgerKernel.plainMap }
      const last = program(1, [symbol("f", "Func"), symbol("v", "Var"), symbol("missing", kind), symbol("g", "Func")])
      const replayed = run(assembled(map, program(0, []), last), having("m:f", "n:v", "m:g"))
      assert.strictEqual(replayed.retval, -Errno.numbers.ENOENT)
      assert.deepStrictEqual(replayed.maps, [undefined])
      assert.deepStrictEqual(replayed.programs, [undefined, undefined])
      // What comes behind the missing one is not looked for.
      assert.deepStrictEqual(replayed.lookedUp.map(({ name }) => name), ["f", "v", "missing"])
    }
  )

  it("types of modules are closed when the kernel refuses the program, too", () => {
    const first = program(0, [symbol("f", "Func"), symbol("v", "Var")], { attachTo: symbol("t", "Func") })
    const loader = assembled(first, program(1, [symbol("f", "Func")]))
    for (const at of [0, 1]) {
      assert.strictEqual(run(loader, having("m:f", "n:v", "o:t"), at).retval, -Errno.numbers.EPERM)
    }
  })

  it("attach targets are types of the kernel, or of a module", () => {
    const targets = [
      symbol("do_unlinkat", "Func"),
      symbol("btf_trace_sched_switch", "Typedef"),
      symbol("in_module", "Func")
    ]
    const calls = targets.map((attachTo, index) => program(index, [symbol("f", "Func")], { attachTo }))
    const replayed = run(assembled(...calls), having("do_unlinkat", "btf_trace_sched_switch", "mod:in_module", "f"))
    assert.strictEqual(replayed.retval, 0)
    assert.deepStrictEqual(loads(replayed).map(({ attachTo }) => attachTo), [
      { name: "do_unlinkat", kind: "Func", weak: false },
      { name: "btf_trace_sched_switch", kind: "Typedef", weak: false },
      { name: "in_module", kind: "Func", weak: false, module: "mod" }
    ])
  })

  it("a target in a module is not one of the same name in the kernel itself", () => {
    const loader = assembled(program(0, [symbol("f", "Func")], { attachTo: symbol("t", "Func", { module: "mod" }) }))
    assert.strictEqual(run(loader, having("t", "f")).retval, -Errno.numbers.ENOENT)
    assert.strictEqual(run(loader, having("mod:t", "f")).retval, 0)
    assert.strictEqual(run(loader, having("f")).retval, -Errno.numbers.ENOENT)
    const weak = program(0, [symbol("f", "Func", { module: "mod", weak: true })])
    assert.deepStrictEqual(mentioned(run(assembled(weak), having("f"))), [[]])
  })

  it("a target that is missing fails the load before anything else is looked for", () => {
    const loader = assembled(program(0, [symbol("f", "Func")], { attachTo: symbol("t", "Func") }))
    const replayed = run(loader, having("f"))
    assert.strictEqual(replayed.retval, -Errno.numbers.ENOENT)
    assert.deepStrictEqual(replayed.lookedUp.map(({ name }) => name), ["t"])
  })

  it("hundreds of functions, beyond the end of fd_array", () => {
    const symbols = Array.from({ length: 300 }, (_, at) => symbol(`f${at}`, "Func"))
    const loader = assembled(program(0, symbols), program(1, symbols.slice(0, 2)))
    const replayed = run(loader, { find: ({ name }) => ({ module: `m${Number(name.slice(1)) % 7}` }) })
    assert.strictEqual(replayed.retval, 0)
    assert.deepStrictEqual(
      mentioned(replayed)[0],
      symbols.map(({ name }, at) => `${at} Func m${at % 7}:${name}`)
    )
    assert.strictEqual(run(loader, { find: ({ name }) => name === "f299" ? undefined : { module: "m" } }).retval, -2)
  })
})

describe("symbols that the plan has decided", () => {
  it("are in the instructions, and not looked up", () => {
    const symbols = [
      symbol("f", "Func", { resolved: { owner: "vmlinux", id: 77 } }),
      symbol("v", "Var", { resolved: { owner: "vmlinux", id: 78 } }),
      symbol("a", "Address", { resolved: { address: 0xffff_8000_1234_5678n } }),
      symbol("g", "Func", { weak: true, resolved: { absent: true } })
    ]
    const attachTo = symbol("t", "Func", { resolved: { owner: "vmlinux", id: 79 } })
    const loader = loaderOf([program(0, symbols, { attachTo })])
    const expected = Encode.program(
      Encode.callKfunc(77),
      Encode.ldBtfId(2, 78),
      Encode.ldImm64(1, 0xffff_8000_1234_5678n),
      Encode.raw(0x85, 0, 0, 0, 2_002_000_003),
      Encode.mov64Imm(0, 0),
      Encode.exit()
    )
    const at = Buffer.from(loader.data).indexOf(expected)
    assert.isAbove(at, 0)
    const attr = new DataView(loader.data.buffer).getUint32(loader.data.length - 144 + 108, true)
    assert.strictEqual(attr, 79)
  })

  it("are refused where they fit no instruction", () => {
    const wrong: ReadonlyArray<NonNullable<KernelSymbol["resolved"]>> = [
      { owner: "vmlinux", id: 2 ** 32 },
      { owner: "vmlinux", id: -1 },
      { owner: "vmlinux", id: 0.5 },
      { address: 2n ** 64n },
      { address: -1n }
    ]
    for (const resolved of wrong) {
      for (const kind of ["Func", "Var"] as const) {
        assert.strictEqual(errorOf(program(0, [symbol("s", kind, { resolved })])).reason, "BadRef")
      }
    }
  })

  it("of a module are looked up for the module's descriptor", () => {
    const resolved = { owner: "mod", id: 5 }
    const replayed = run(loaderOf([program(0, [symbol("f", "Func", { resolved })])]), having("mod:f"))
    assert.deepStrictEqual(mentioned(replayed), [["0 Func mod:f"]])
    assert.strictEqual(run(loaderOf([program(0, [symbol("f", "Func", { resolved })])]), having("f")).retval, -2)
  })
})

describe("symbols that no loader can look up", () => {
  it("have names that the kernel would not take", () => {
    assert.strictEqual(errorOf(program(0, [symbol("", "Func")])).reason, "BadValue")
    assert.strictEqual(errorOf(program(0, [symbol("a\0b", "Var")])).reason, "BadValue")
    assert.strictEqual(errorOf(program(0, [], { attachTo: symbol("x".repeat(512), "Func") })).reason, "TooLarge")
    const longest = loaderOf([program(0, [], { attachTo: symbol("x".repeat(511), "Func") })])
    assert.strictEqual(run(longest).retval, 0)
  })

  it("stand where no symbol can", () => {
    const insns = Encode.program(Encode.mov64Imm(0, 0), Encode.ldImm64(1, 0n), Encode.callKfunc(1), Encode.exit())
    const at = (at: number, kind: KernelSymbol["kind"]) =>
      errorOf(program(0, [], { code: { insns, refs: [{ _tag: "SymbolRef", at, symbol: symbol("s", kind) }] } }))
    for (const place of [0, 2, 4, -1, 99, 0.5]) assert.strictEqual(at(place, "Func").reason, "BadRef", String(place))
    assert.match(at(3, "Address").message, /prog0: instruction 3: s: an address cannot be called/)
    assert.match(
      errorOf(program(0, [], { attachTo: symbol("s", "Address") })).message,
      /ProgLoad of prog0: s is an address/
    )
  })

  it("are for all functions of a module", () => {
    const attachTo = symbol("x*", "Func", { module: "mod", resolved: { owner: "mod", id: 0 } })
    const error = errorOf(program(0, [], { attachTo }))
    assert.strictEqual(error.reason, "Unsupported")
    assert.match(error.message, /ProgLoad of prog0: .*module mod/)
  })

  it("are functions so far behind that no call can name their module's slot", () => {
    const symbols = Array.from({ length: 257 }, (_, at) => symbol(`f${at}`, "Func"))
    const bytes = new Uint8Array(140_000)
    const error = errorOf({ _tag: "BtfLoad", as: Ref.btf(0), bytes }, program(0, symbols))
    assert.strictEqual(error.reason, "TooMany")
    assert.match(error.message, /ProgLoad of prog0: .*more than 256 functions.*32767/)
    assert.strictEqual(
      run(loaderOf([{ _tag: "BtfLoad", as: Ref.btf(0), bytes }, program(0, symbols.slice(1))])).retval,
      0
    )
  })
})

describe("named faults", () => {
  it("a module's types that are not closed are seen", () => {
    const loader = loaderOf([program(0, [symbol("f", "Func")])])
    // The last close of the loader is that of the module's descriptor.
    const insns = new Uint8Array(loader.insns)
    let last = 0
    for (let at = 0; at < Insn.count(insns); at = Insn.nextSlot(insns, at)) {
      if (Insn.isHelperCall(insns, at) && Insn.imm(insns, at) === 168) last = at
    }
    insns.set(Encode.mov64Imm(0, 0), last * 8)
    assert.throws(() => run({ ...loader, insns }, having("m:f")), /leakedModules|deeply equal/)
  })

  it("an answer of a look-up that nobody looks at is seen", () => {
    const loader = loaderOf([program(0, [symbol("v", "Var")])])
    const insns = new Uint8Array(loader.insns)
    for (let at = 0; at < Insn.count(insns); at = Insn.nextSlot(insns, at)) {
      if (Insn.opcode(insns, at) === 0xc5) {
        insns.set(Encode.mov64Reg(0, 7), at * 8)
        break
      }
    }
    assert.isAbove(faults({ ...loader, insns }).length, 0)
  })
})
