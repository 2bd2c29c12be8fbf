import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import type { KernelSymbol } from "../../../../src/services/Kernel/KernelCall.ts"
import * as KernelInfo from "../../../../src/services/Kernel/KernelInfo.ts"
import type { BpfObject } from "../../../../src/stages/open/BpfObject.ts"
import * as Edit from "../../../../src/stages/open/Edit.ts"
import * as Relocate from "../../../../src/stages/relocate/Relocate.ts"
import * as B from "../../../support/arbitrary/BtfBlob.ts"
import { opened } from "../Pipeline.ts"

const object = opened("ksyms.bpf.o")

/** One of its two programs alone: the first refers to addresses, the second to functions. */
const only = (name: "look_up_symbols" | "call_kernel"): BpfObject =>
  ["look_up_symbols", "call_kernel"].reduce(
    (edited, each) => Result.getOrThrow(Edit.setAutoload(edited, each, each === name)),
    object
  )

const identity = { release: "6.18", architecture: "x64", byteOrder: "little" } as const

const kernel = (answers: KernelInfo.Answers, supplied?: ReadonlySet<string>): KernelInfo.KernelInfo =>
  KernelInfo.add(KernelInfo.make({ ...identity, ...(supplied === undefined ? {} : { supplied }) }), answers)

/** `void (void)`, `void (int)`, and the functions that the program calls. */
const functions: ReadonlyArray<B.Rec> = [
  B.funcProto(0, []),
  B.func("bpf_rcu_read_lock", 1, 0),
  B.func("bpf_rcu_read_unlock", 1, 0)
]

/** How the symbols of a program are settled, by name, or what must be asked, or what is refused. */
const settled = (object: BpfObject, info: KernelInfo.KernelInfo): Record<string, unknown> => {
  const answer = Relocate.toObject(object, info)
  if (Result.isFailure(answer)) {
    const { detail, hint, name, reason } = answer.failure
    assert.strictEqual(reason, "Ksym")
    return { refused: name, detail, ...(hint === undefined ? {} : { hint }) }
  }
  if (answer.success._tag === "Needs") return { asks: answer.success.requirements.map(KernelInfo.describe) }
  const symbols: ReadonlyArray<KernelSymbol> = answer.success.value.programs.flatMap(({ code }) =>
    code.refs.flatMap((ref) => ref._tag === "SymbolRef" ? [ref.symbol] : [])
  )
  return Object.fromEntries(symbols.map(({ name, resolved }) => [name, resolved ?? "open"]))
}

const types = (types: ReadonlyArray<B.Rec>, modules?: ReadonlyArray<KernelInfo.ModuleTypes>): KernelInfo.Answers => ({
  vmlinuxTypes: KernelInfo.known(B.btfOf(types)),
  ...(modules === undefined ? {} : { moduleTypes: KernelInfo.known(modules) })
})

describe("functions", () => {
  const calls = only("call_kernel")

  it("are in vmlinux; a weak one that nobody has is absent, but modules are asked first", () => {
    assert.deepStrictEqual(settled(calls, kernel({})), { asks: ["the BTF of vmlinux"] })
    assert.deepStrictEqual(settled(calls, kernel(types(functions))), { asks: ["the BTF of the modules"] })
    assert.deepStrictEqual(settled(calls, kernel(types(functions, []))), {
      bpf_rcu_read_lock: { owner: "vmlinux", id: 2 },
      bpf_rcu_read_unlock: { owner: "vmlinux", id: 3 },
      there_is_no_such_function: { absent: true }
    })
  })

  it("that are missing are named in order of their names, whatever the order of instructions and programs is", () => {
    const strong = { ...calls, externs: calls.externs.map((each) => ({ ...each, weak: false })) }
    assert.include(settled(strong, kernel(types([B.funcProto(0, [])], []))), { refused: "bpf_rcu_read_lock" })
    const reversed = (name: string): string => ({ bpf_rcu_read_lock: "y", bpf_rcu_read_unlock: "z" })[name] ?? "x"
    const renamed = { ...strong, externs: strong.externs.map((each) => ({ ...each, name: reversed(each.name) })) }
    assert.include(settled(renamed, kernel(types([B.funcProto(0, [])], []))), { refused: "x" })
  })

  it("are among the own types of a module, by the ids of its split BTF", () => {
    const base = B.btfOf(functions)
    const split = B.btfOf([B.int("int", 4, 1), B.funcProto(4, [["", 4]]), B.func("there_is_no_such_function", 5, 0)], {
      base,
      stringsStart: base.stringsLength
    })
    const moduleTypes = KernelInfo.known([{ name: "other", btf: undefined }, { name: "some", btf: split }])
    const info = kernel({ vmlinuxTypes: KernelInfo.known(base), moduleTypes })
    assert.deepStrictEqual(settled(calls, info)["there_is_no_such_function"], { owner: "some", id: 6 })
  })

  it("of another type are refused, with both declarations, where they are strong", () => {
    const other = [B.int("int", 4, 1), B.funcProto(0, [["flags", 1]]), B.func("bpf_rcu_read_lock", 2, 0)]
    const found = settled(calls, kernel(types(other, [])))
    assert.strictEqual(found["refused"], "bpf_rcu_read_lock")
    assert.match(
      String(found["detail"]),
      /declared as `void bpf_rcu_read_lock\(void\)`, and the kernel has `void bpf_rcu_read_lock\(int flags\)`/
    )
  })

  it("of a struct that is not defined are refused with that for a hint: the declarations look alike", () => {
    const own = [B.fwd("task_struct", false), B.ptr(1), B.funcProto(2, []), B.func("bpf_rcu_read_lock", 3, 2)]
    const there = [B.struct("task_struct", 64, []), B.ptr(1), B.funcProto(2, []), B.func("bpf_rcu_read_lock", 3, 0)]
    const typed = (types: ReadonlyArray<B.Rec>): BpfObject => ({
      ...calls,
      externs: calls.externs.map((extern) =>
        extern._tag === "Ksym" && extern.name === "bpf_rcu_read_lock" ? { ...extern, typeId: 3 } : extern
      ),
      btf: B.btfOf(types),
      btfExt: undefined
    })
    assert.deepStrictEqual(settled(typed(own), kernel(types(there, []))), {
      refused: "bpf_rcu_read_lock",
      detail: "it is declared as `struct task_struct *bpf_rcu_read_lock(void)`, and the kernel has " +
        "`struct task_struct *bpf_rcu_read_lock(void)`",
      hint: "struct task_struct is declared and not defined: put `struct task_struct {};`, or the whole of it, " +
        "in front of bpf_rcu_read_lock"
    })
    // With a definition, the kernel's function is found, and the next one is missed.
    const defined = [B.struct("task_struct", 0, []), ...own.slice(1)]
    assert.notStrictEqual(settled(typed(defined), kernel(types(there, [])))["refused"], "bpf_rcu_read_lock")
  })

  it("of another type are absent where they are weak, and one of several that fits is taken", () => {
    const wrong = [...functions, B.int("int", 4, 1), B.func("there_is_no_such_function", 1, 0)]
    assert.deepStrictEqual(settled(calls, kernel(types(wrong)))["there_is_no_such_function"], { absent: true })
    const right = [...wrong, B.funcProto(4, [["", 4]]), B.func("there_is_no_such_function", 6, 0)]
    assert.deepStrictEqual(settled(calls, kernel(types(right)))["there_is_no_such_function"], {
      owner: "vmlinux",
      id: 7
    })
  })

  it("that are strong and missing are refused by name, with the modules that could not be read", () => {
    const nothing = [B.int("int", 4, 1)]
    assert.deepStrictEqual(settled(calls, kernel(types(nothing, []))), {
      refused: "bpf_rcu_read_lock",
      detail: "the kernel has no function of this name, declared as `void bpf_rcu_read_lock(void)`",
      hint: "declare it __weak if it may be missing"
    })
    const broken = [{ name: "bent", btf: undefined, problem: "it is no BTF" }]
    assert.strictEqual(
      settled(calls, kernel(types(nothing, broken)))["hint"],
      "types of these modules could not be looked at: bent (it is no BTF)"
    )
  })

  it("stay open where nobody knows the kernel yet, or where a simulated one was given them", () => {
    const open = { bpf_rcu_read_lock: "open", bpf_rcu_read_unlock: "open", there_is_no_such_function: "open" }
    assert.deepStrictEqual(settled(calls, kernel({ vmlinuxTypes: KernelInfo.deferred })), open)
    assert.deepStrictEqual(settled(calls, kernel(types([B.int("int", 4)], []), new Set(Object.keys(open)))), open)
  })

  it("of programs that are not loaded are nobody's business", () => {
    const none = only("look_up_symbols")
    assert.deepStrictEqual(settled(none, kernel(types([B.int("int", 4)]))), {
      asks: ["kernel symbol schedule", "kernel symbol there_is_no_such_address"]
    })
  })
})

describe("addresses", () => {
  const addresses = only("look_up_symbols")
  const symbols = (schedule: KernelInfo.SymbolAddress): KernelInfo.KernelInfo =>
    kernel({
      symbols: new Map([
        ["schedule", KernelInfo.known(schedule)],
        ["there_is_no_such_address", KernelInfo.known(undefined)]
      ])
    })

  it("are those of kallsyms; a weak one that is missing is absent", () => {
    assert.deepStrictEqual(settled(addresses, symbols(0xffff_ffff_8100_1230n)), {
      schedule: { address: 0xffff_ffff_8100_1230n },
      there_is_no_such_address: { absent: true }
    })
  })

  it("are left to the load where the kernel hides them", () => {
    assert.strictEqual(settled(addresses, symbols(0n))["schedule"], "open")
  })

  it("are refused where there is none, or several", () => {
    assert.deepStrictEqual(settled(addresses, symbols(undefined)), {
      refused: "schedule",
      detail: "the kernel has no symbol of this name, declared as `void schedule`",
      hint: "declare it __weak if it may be missing"
    })
    assert.match(String(settled(addresses, symbols("ambiguous"))["detail"]), /several symbols of this name/)
  })
})

describe("variables with a type", () => {
  /** The object with `schedule` as `const struct rq schedule`. */
  const typed = (() => {
    const at = object.externs.findIndex((extern) => extern.name === "schedule")
    const btf = B.btfOf([B.int("int", 4, 1), B.struct("rq", 4, [["cpu", 1, 0]]), B.ptr(2)])
    const externs = object.externs.map((extern, index) =>
      extern._tag === "Ksym" && index === at ? { ...extern, typeId: 2 } : extern
    )
    return { ...only("look_up_symbols"), externs, btf, btfExt: undefined }
  })()
  const symbols = new Map([["there_is_no_such_address", KernelInfo.known(undefined)]])

  it("are found behind the qualifiers of the kernel's", () => {
    const there = [B.struct("rq", 64, []), B.constant(1), B.variable("schedule", 2, 1)]
    assert.deepStrictEqual(settled(typed, kernel({ ...types(there), symbols }))["schedule"], {
      owner: "vmlinux",
      id: 3
    })
  })

  it("of another kind of type are refused", () => {
    const there = [B.int("int", 4), B.ptr(1), B.variable("schedule", 2, 1)]
    assert.match(
      String(settled(typed, kernel({ ...types(there), symbols }))["detail"]),
      /declared as `struct rq schedule`, and the kernel has `int \*schedule`/
    )
  })

  it("that the kernel lacks are refused", () => {
    assert.match(
      String(settled(typed, kernel({ ...types([B.int("int", 4)], []), symbols }))["detail"]),
      /no variable of this name, declared as `struct rq schedule`/
    )
  })
})
