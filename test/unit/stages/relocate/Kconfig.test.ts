import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { refused } from "../../../../src/services/Kernel/Feature.ts"
import * as KernelInfo from "../../../../src/services/Kernel/KernelInfo.ts"
import type { KconfigExtern } from "../../../../src/stages/open/BpfObject.ts"
import type { BpfObject } from "../../../../src/stages/open/BpfObject.ts"
import * as Kconfig from "../../../../src/stages/relocate/Kconfig.ts"
import * as Relocate from "../../../../src/stages/relocate/Relocate.ts"
import { relocated } from "../Pipeline.ts"
import { opened } from "../Pipeline.ts"

const base = opened("externs.bpf.o")

const extern = (
  name: string,
  kind: KconfigExtern["kind"],
  size: number,
  more: Partial<KconfigExtern> = {}
): KconfigExtern => ({
  _tag: "Kconfig",
  name,
  weak: false,
  typeId: 1,
  size,
  alignment: 1,
  dataOffset: 0,
  kind,
  signed: false,
  ...more
})

/** The bytes of one extern whose option has this text, or the detail of what it is refused for. */
const value = (
  one: KconfigExtern,
  text: string | undefined,
  byteOrder: BpfObject["byteOrder"] = "little"
): ReadonlyArray<number> | string => {
  const object: BpfObject = { ...base, byteOrder, externs: [one], programs: [] }
  const info = KernelInfo.add(KernelInfo.make({ release: "6.18", architecture: "x64", byteOrder }), {
    kconfig: new Map([[one.name, KernelInfo.known(text)]]),
    kernelVersion: KernelInfo.known(0x06_12_05),
    features: new Map([
      ["BpfCookie", KernelInfo.known(KernelInfo.supported)],
      ["SyscallWrapper", KernelInfo.known(KernelInfo.unsupported())]
    ])
  })
  const answer = Relocate.toObject(object, info)
  if (Result.isFailure(answer)) {
    assert.strictEqual(answer.failure.reason, "Kconfig")
    assert.strictEqual(answer.failure.name, one.name)
    return answer.failure.detail
  }
  if (answer.success._tag === "Needs") return `needs ${answer.success.requirements.map(KernelInfo.describe).join()}`
  return [...answer.success.value.kconfig ?? []]
}

describe("text of the user's", () => {
  const object: BpfObject = {
    ...base,
    externs: [extern("CONFIG_A", "int", 4), extern("CONFIG_B", "int", 4, { dataOffset: 4 })],
    programs: []
  }
  const nothing = KernelInfo.make({ release: "6.18", architecture: "x64", byteOrder: "little" })
  const answer = (kconfig: string, info = nothing): ReadonlyArray<number | string> => {
    const result = Relocate.toObject(object, info, { kconfig })
    if (Result.isFailure(result)) return [result.failure.message]
    return result.success._tag === "Needs"
      ? result.success.requirements.map(KernelInfo.describe)
      : [...result.success.value.kconfig ?? []]
  }

  it("comes first; the kernel is asked for the rest", () => {
    assert.deepStrictEqual(answer("# CONFIG_B is not set\nCONFIG_A=7\n"), ["kernel option CONFIG_B"])
    const info = KernelInfo.add(nothing, {
      kconfig: new Map([["CONFIG_A", KernelInfo.known("1")], ["CONFIG_B", KernelInfo.known("2")]])
    })
    assert.deepStrictEqual(answer("CONFIG_A=7\nCONFIG_A=8\n", info), [7, 0, 0, 0, 2, 0, 0, 0])
    assert.deepStrictEqual(answer("CONFIG_A=7\r\nCONFIG_B=0x10"), [7, 0, 0, 0, 16, 0, 0, 0])
  })

  it("must be well formed", () => {
    assert.deepStrictEqual(answer("\nCONFIG_A"), ["CONFIG_A: line 2 of the given configuration has no ="])
    assert.deepStrictEqual(answer("CONFIG_A=\n"), [
      "CONFIG_A: line 1 of the given configuration has no value after its ="
    ])
    assert.match(String(answer("CONFIG_A=x\nCONFIG_B=1")[0]), /the value x is no int/)
  })
})

const ascii = (text: string): ReadonlyArray<number> => [...new TextEncoder().encode(text)]

describe("y, n and m", () => {
  it("are numbers of a tristate", () => {
    const tristate = extern("CONFIG_X", "tristate", 4)
    assert.deepStrictEqual(value(tristate, "n"), [0, 0, 0, 0])
    assert.deepStrictEqual(value(tristate, "y"), [1, 0, 0, 0])
    assert.deepStrictEqual(value(tristate, "m"), [2, 0, 0, 0])
    assert.deepStrictEqual(value(extern("CONFIG_X", "tristate", 8), "m", "big"), [0, 0, 0, 0, 0, 0, 0, 2])
  })

  it("are true and false; m is neither", () => {
    const bool = extern("CONFIG_X", "bool", 1)
    assert.deepStrictEqual(value(bool, "y"), [1])
    assert.deepStrictEqual(value(bool, "n"), [0])
    assert.strictEqual(value(bool, "m"), "the value is m, which is no bool")
  })

  it("are themselves as characters, and nothing else", () => {
    for (const text of ["y", "n", "m"]) assert.deepStrictEqual(value(extern("CONFIG_X", "char", 1), text), ascii(text))
    assert.strictEqual(value(extern("CONFIG_X", "int", 4), "y"), "the value is y, which is no int")
    assert.strictEqual(value(extern("CONFIG_X", "string", 4), "n"), "the value is n, which is no string")
  })
})

describe("integers", () => {
  const rows: ReadonlyArray<readonly [string, number, boolean, ReadonlyArray<number> | RegExp]> = [
    ["255", 1, false, [255]],
    ["256", 1, false, /256 does not fit in 1 bytes/],
    ["-1", 1, false, /-1 does not fit/],
    ["-1", 1, true, [255]],
    ["127", 1, true, [127]],
    ["128", 1, true, /does not fit/],
    ["-128", 1, true, [128]],
    ["-129", 1, true, /does not fit/],
    ["65535", 2, false, [255, 255]],
    ["65536", 2, false, /does not fit/],
    ["-32768", 2, true, [0, 128]],
    ["32768", 2, true, /does not fit/],
    ["0xffffffff", 4, false, [255, 255, 255, 255]],
    ["0x100000000", 4, false, /does not fit/],
    ["-2147483648", 4, true, [0, 0, 0, 128]],
    ["2147483648", 4, true, /does not fit/],
    // As 64 bits this is -1, which a signed variable of 32 bits can hold.
    ["0xffffffffffffffff", 4, true, [255, 255, 255, 255]],
    ["0xffffffffffffffff", 8, false, [255, 255, 255, 255, 255, 255, 255, 255]],
    ["0xffffffffffffffff", 8, true, [255, 255, 255, 255, 255, 255, 255, 255]],
    ["-1", 8, false, [255, 255, 255, 255, 255, 255, 255, 255]],
    ["0x10000000000000000", 8, false, /is no int/],
    ["18446744073709551616", 8, false, /is no int/],
    ["010", 4, false, [8, 0, 0, 0]],
    ["0", 4, false, [0, 0, 0, 0]],
    ["+7", 4, false, [7, 0, 0, 0]],
    ["08", 4, false, /is no int/],
    ["1x", 4, false, /is no int/],
    ["0x", 4, false, /is no int/],
    [" 1", 4, false, /is no int/],
    ["yes", 4, false, /is no int/],
    ["-", 4, false, /is no int/]
  ]
  for (const [text, size, signed, expected] of rows) {
    it(`${text} in ${signed ? "signed" : "unsigned"} ${size} bytes`, () => {
      const found = value(extern("CONFIG_X", size === 1 ? "char" : "int", size, { signed }), text)
      if (expected instanceof RegExp) assert.match(String(found).replace("char", "int"), expected)
      else assert.deepStrictEqual(found, expected)
    })
  }

  it("follow the object's byte order", () => {
    assert.deepStrictEqual(value(extern("CONFIG_X", "int", 4), "0x01020304", "big"), [1, 2, 3, 4])
    assert.deepStrictEqual(value(extern("CONFIG_X", "int", 2), "0x0102", "big"), [1, 2])
  })

  it("are for integers and characters only", () => {
    assert.strictEqual(value(extern("CONFIG_X", "bool", 1), "1"), "the value 1 is no bool")
    assert.strictEqual(value(extern("CONFIG_X", "tristate", 4), "1"), "the value 1 is no tristate")
    assert.strictEqual(value(extern("CONFIG_X", "string", 4), "1"), "the value 1 is no string")
  })
})

describe("strings", () => {
  const string = (size: number) => extern("CONFIG_X", "string", size)

  it("lose their quotes, end with a NUL and are cut to fit", () => {
    assert.deepStrictEqual(value(string(8), "\"abc\""), [...ascii("abc"), 0, 0, 0, 0, 0])
    assert.deepStrictEqual(value(string(4), "\"abc\""), [...ascii("abc"), 0])
    assert.deepStrictEqual(value(string(3), "\"abc\""), [...ascii("ab"), 0])
    assert.deepStrictEqual(value(string(1), "\"abc\""), [0])
    assert.deepStrictEqual(value(string(2), "\"\""), [0, 0])
  })

  it("have no escapes", () => {
    assert.deepStrictEqual(value(string(5), "\"a\\\"b\""), [...ascii("a\\\"b"), 0])
  })

  it("must end, and go into arrays of characters only", () => {
    assert.strictEqual(value(string(4), "\"abc"), "the string \"abc does not end")
    assert.strictEqual(value(string(4), "\""), "the string \" does not end")
    assert.strictEqual(value(extern("CONFIG_X", "int", 4), "\"1\""), "the value \"1\" is a string, not a int")
  })
})

describe("options that the kernel does not set", () => {
  it("are zero where they are weak, else an error", () => {
    assert.deepStrictEqual(value(extern("CONFIG_X", "int", 4, { weak: true }), undefined), [0, 0, 0, 0])
    assert.deepStrictEqual(value(extern("CONFIG_X", "string", 3, { weak: true }), undefined), [0, 0, 0])
    assert.strictEqual(value(extern("CONFIG_X", "int", 4), undefined), "the kernel does not set this option")
    assert.strictEqual(value(extern("CONFIG_X", "int", 4), ""), "the kernel's configuration has no value after its =")
  })
})

describe("names that the loader knows", () => {
  it("are the version, and features", () => {
    assert.deepStrictEqual(value(extern("LINUX_KERNEL_VERSION", "int", 4), undefined), [5, 18, 6, 0])
    assert.deepStrictEqual(value(extern("LINUX_KERNEL_VERSION", "int", 8), undefined), [5, 18, 6, 0, 0, 0, 0, 0])
    assert.deepStrictEqual(value(extern("LINUX_HAS_BPF_COOKIE", "bool", 1), undefined), [1])
    assert.deepStrictEqual(value(extern("LINUX_HAS_SYSCALL_WRAPPER", "int", 4), undefined), [0, 0, 0, 0])
    assert.match(String(value(extern("LINUX_KERNEL_VERSION", "int", 2), undefined)), /does not fit in 2 bytes/)
    assert.match(String(value(extern("LINUX_KERNEL_VERSION", "string", 9), undefined)), /a number is no string/)
    assert.match(String(value(extern("LINUX_HAS_BPF_COOKIE", "tristate", 4), undefined)), /a number is no tristate/)
    assert.match(String(value(extern("LINUX_KERNEL_VERSION", "bool", 1), undefined)), /is neither true nor false/)
  })

  it("of the future are zero where they are weak numbers", () => {
    assert.deepStrictEqual(value(extern("LINUX_HAS_TIME_TRAVEL", "bool", 1, { weak: true }), undefined), [0])
    assert.strictEqual(
      value(extern("LINUX_HAS_TIME_TRAVEL", "bool", 1), undefined),
      "there is no kernel value of this name"
    )
    assert.strictEqual(
      value(extern("LINUX_HAS_TIME_TRAVEL", "string", 4, { weak: true }), undefined),
      "a number is no string"
    )
  })

  it("must begin with CONFIG_ or LINUX_", () => {
    assert.strictEqual(
      value(extern("HZ", "int", 4, { weak: true }), undefined),
      "there is no kernel value of this name"
    )
  })
})

describe("a feature that the kernel does not tell of", () => {
  const why = "run as root"
  const info = KernelInfo.add(KernelInfo.make({ release: "6.18", architecture: "x64", byteOrder: "little" }), {
    features: new Map([["BpfCookie", KernelInfo.known(refused("EPERM", why))]])
  })

  it("is not taken for one that is missing", () => {
    for (const weak of [false, true]) {
      const externs = [extern("LINUX_HAS_BPF_COOKIE", "bool", 1, { weak })]
      const answer = Relocate.toObject({ ...base, externs, programs: [] }, info)
      assert.deepInclude(Result.isFailure(answer) ? answer.failure : {}, {
        name: "LINUX_HAS_BPF_COOKIE",
        detail: "the kernel does not say whether it has it (EPERM)",
        hint: why
      })
    }
  })
})

describe("what is asked", () => {
  const info = KernelInfo.make({ release: "6.18", architecture: "x64", byteOrder: "little" })

  it("is what the externs need, and nothing for an object without", () => {
    const needs = Kconfig.values(base, info).needs.map(KernelInfo.describe)
    assert.sameMembers([...needs], [
      "the kernel version",
      "feature BpfCookie",
      "feature SyscallWrapper",
      ...["HZ", "BPF_SYSCALL", "NET", "BPF_JIT", "CC_VERSION_TEXT", "THERE_IS_NO_SUCH_THING"].map((each) =>
        `kernel option CONFIG_${each}`
      )
    ])
    assert.deepStrictEqual(Kconfig.values(opened("xdp_firewall.bpf.o"), info), {
      needs: [],
      bytes: undefined,
      pending: []
    })
  })

  it("is what is not known yet", () => {
    const known = KernelInfo.add(info, {
      kernelVersion: KernelInfo.known(1),
      features: new Map([["BpfCookie", KernelInfo.known(KernelInfo.supported)]]),
      kconfig: new Map([["CONFIG_HZ", KernelInfo.known("250")]])
    })
    const needs = Kconfig.values(base, known).needs.map(KernelInfo.describe)
    assert.notIncludeMembers([...needs], ["the kernel version", "feature BpfCookie", "kernel option CONFIG_HZ"])
    assert.strictEqual(needs.length, 6)
  })

  it("makes the fixture's values, in either byte order", () => {
    for (const name of ["externs.bpf.o", "externs.eb.o"]) {
      const object = opened(name)
      const bytes = relocated(object).kconfig ?? assert.fail()
      const view = new DataView(bytes.buffer)
      const at = (which: string) => {
        const found = object.externs.find((each) => each.name === which)
        return found?._tag === "Kconfig" ? found.dataOffset : assert.fail()
      }
      const little = object.byteOrder === "little"
      assert.strictEqual(view.getUint32(at("CONFIG_HZ"), little), 250)
      assert.strictEqual(view.getUint32(at("CONFIG_BPF_SYSCALL"), little), 1)
      assert.strictEqual(view.getUint32(at("LINUX_KERNEL_VERSION"), little), 0x06_12_05)
      assert.strictEqual(view.getUint8(at("CONFIG_BPF_JIT")), "y".charCodeAt(0))
      assert.strictEqual(view.getUint16(at("CONFIG_THERE_IS_NO_SUCH_THING"), little), 0)
      assert.strictEqual(
        new TextDecoder().decode(bytes.subarray(at("CONFIG_CC_VERSION_TEXT"), at("CONFIG_CC_VERSION_TEXT") + 8)),
        "gcc (De\0"
      )
    }
  })
})
