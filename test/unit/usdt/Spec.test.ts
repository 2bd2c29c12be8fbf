import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Btf from "../../../src/btf/Btf.ts"
import * as Argument from "../../../src/usdt/Argument.ts"
import * as Spec from "../../../src/usdt/Spec.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import { fixture } from "../../support/Require.ts"

const layoutOf = (name: string): Spec.Layout => {
  const object = Result.getOrThrow(Open.fromBytes(fixture(name), { path: name }))
  const map = object.maps.find((each) => each.name === Spec.specsMap)
  if (map === undefined || object.btf === undefined) throw new Error(`${name} has no ${Spec.specsMap}`)
  return Result.getOrThrow(Spec.layout(object.btf, map.valueType))
}

const failure = <A, E>(result: Result.Result<A, E>): E => {
  if (Result.isSuccess(result)) throw new Error("it was not refused")
  return result.failure
}

const parse = (text: string, architecture: Argument.Architecture = "x86-64") =>
  Result.getOrThrow(Argument.parse(architecture, text))

/** One argument as a program of the older header reads it. */
const narrow = (view: DataView, index: number, little: boolean) => ({
  value: view.getBigInt64(index * 16, little),
  type: view.getUint32(index * 16 + 8, little),
  register: view.getInt16(index * 16 + 12, little),
  signed: view.getUint8(index * 16 + 14),
  shift: view.getInt8(index * 16 + 15)
})

/** One argument as a program of the newer header reads it. */
const wide = (view: DataView, index: number, little: boolean) => {
  const bits = view.getUint16(index * 24 + 10, little)
  return {
    value: view.getBigInt64(index * 24, little),
    type: view.getUint8(index * 24 + 8),
    index: little ? bits & 0xfff : bits >> 4,
    scale: little ? bits >> 12 : bits & 15,
    register: view.getInt16(index * 24 + 14, little),
    signed: view.getUint8(index * 24 + 16),
    shift: view.getInt8(index * 24 + 17)
  }
}

const encoded = (layout: Spec.Layout, text: string, cookie = 0n) => {
  const bytes = Result.getOrThrow(Spec.encode(layout, "x86-64", { arguments: parse(text), cookie }))
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) }
}

const text = "-4@%esi 8@-24(%rbp) 2@$-7 -1@%ah"

describe("records of arguments", () => {
  for (const [name, little] of [["usdt.bpf.o", true], ["usdt.eb.o", false]] as const) {
    it(`of the older layout, ${little ? "little" : "big"}-endian`, () => {
      const layout = layoutOf(name)
      assert.deepInclude(layout, { size: 208, maxArguments: 12, indexed: false })
      const { bytes, view } = encoded(layout, text, 0xdead_beef_0000_0001n)
      assert.lengthOf(bytes, 208)
      assert.deepStrictEqual([0, 1, 2, 3, 4].map((index) => narrow(view, index, little)), [
        { value: 0n, type: 1, register: 104, signed: 1, shift: 32 },
        { value: -24n, type: 2, register: 32, signed: 0, shift: 0 },
        { value: -7n, type: 0, register: 0, signed: 0, shift: 48 },
        { value: 0n, type: 1, register: 81, signed: 1, shift: 56 },
        { value: 0n, type: 0, register: 0, signed: 0, shift: 0 }
      ])
      assert.strictEqual(view.getBigUint64(192, little), 0xdead_beef_0000_0001n)
      assert.strictEqual(view.getInt16(200, little), 4)
    })
  }

  for (const [name, little] of [["usdt_wide.bpf.o", true], ["usdt_wide.eb.o", false]] as const) {
    it(`of the newer layout, ${little ? "little" : "big"}-endian`, () => {
      const layout = layoutOf(name)
      assert.deepInclude(layout, { size: 304, maxArguments: 12, indexed: true })
      const { bytes, view } = encoded(layout, `${text} -8@16(%rax,%r15,8) 4@(%rdi,%rip)`, -1n)
      assert.lengthOf(bytes, 304)
      assert.deepStrictEqual([0, 1, 2, 3, 4, 5].map((index) => wide(view, index, little)), [
        { value: 0n, type: 1, index: 0, scale: 0, register: 104, signed: 1, shift: 32 },
        { value: -24n, type: 2, index: 0, scale: 0, register: 32, signed: 0, shift: 0 },
        { value: -7n, type: 0, index: 0, scale: 0, register: 0, signed: 0, shift: 48 },
        { value: 0n, type: 1, index: 0, scale: 0, register: 81, signed: 1, shift: 56 },
        { value: 16n, type: 3, index: 0, scale: 3, register: 80, signed: 1, shift: 0 },
        { value: 0n, type: 3, index: 128, scale: 0, register: 112, signed: 0, shift: 32 }
      ])
      assert.strictEqual(view.getBigUint64(288, little), 0xffff_ffff_ffff_ffffn)
      assert.strictEqual(view.getInt16(296, little), 6)
    })
  }

  it("of the older layout have no sums of registers", () => {
    const error = failure(Spec.encode(layoutOf("usdt.bpf.o"), "x86-64", {
      arguments: parse("8@%rax 8@(%rax,%rbx)"),
      cookie: 0n
    }))
    assert.deepInclude(error, { reason: "OldLayout", argument: 1 })
    assert.match(error.message, /usdt\.bpf\.h of libbpf 1\.7/)
  })

  it("have room for twelve arguments", () => {
    const layout = layoutOf("usdt.bpf.o")
    const encode = (count: number) =>
      Spec.encode(layout, "x86-64", { arguments: parse("8@%rax ".repeat(count)), cookie: 0n })
    assert.isTrue(Result.isSuccess(encode(12)))
    assert.deepInclude(failure(encode(13)), { reason: "TooManyArguments" })
  })

  it("of a 32-bit program name the registers of the 64-bit kernel", () => {
    const layout = layoutOf("usdt.bpf.o")
    const spec = { arguments: parse("-4@%eax 4@-8(%ebp)", "i386"), cookie: 0n }
    const bytes = Result.getOrThrow(Spec.encode(layout, "x86-64", spec))
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    assert.deepStrictEqual([0, 1].map((index) => narrow(view, index, true).register), [80, 32])
    const elsewhere = failure(Spec.encode(layout, "arm64", spec))
    assert.deepInclude(elsewhere, { reason: "Register", argument: 0 })
  })

  it("are of no type that is not such a struct", () => {
    const object = Result.getOrThrow(Open.fromBytes(fixture("usdt.bpf.o"), { path: "usdt.bpf.o" }))
    const { btf } = object
    if (btf === undefined) throw new Error("no BTF")
    const event = Btf.findOne(btf, "usdt_event", Btf.BTF_KIND_STRUCT) ?? 0
    for (const type of [0, 1, event, 100_000]) {
      const error = failure(Spec.layout(btf, type))
      assert.strictEqual(error.reason, "Layout")
      assert.match(error.message, /must be compiled with libbpf's usdt\.bpf\.h/)
    }
  })
})
