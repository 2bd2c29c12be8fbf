/** What the files of a kernel say: CPU lists, configurations, symbol tables, versions. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { countCpus, parseCpus } from "../../../../../src/services/Kernel/live/CpuList.ts"
import * as Kallsyms from "../../../../../src/services/Kernel/live/Kallsyms.ts"
import * as KernelConfig from "../../../../../src/services/Kernel/KernelConfig.ts"
import { versionCode } from "../../../../../src/services/Kernel/live/KernelVersion.ts"
import { kernelName } from "../../../../../src/services/Kernel/live/Name.ts"
import { runs } from "../../../../support/Require.ts"

describe("countCpus", () => {
  it("counts single CPUs and ranges", () => {
    assert.strictEqual(countCpus("0\n"), 1)
    assert.strictEqual(countCpus("0-3"), 4)
    assert.strictEqual(countCpus("0-3,8,10-11\n"), 7)
    assert.strictEqual(countCpus("0-1048575"), 1048576)
  })

  it("refuses what is no list", () => {
    for (const text of ["", "\n", "a", "0-", "-1", "3-1", "0,0", "1-3,2", "0,,1", "0-1048576", "99999999", "0x1"]) {
      assert.strictEqual(countCpus(text), undefined, text)
      assert.strictEqual(parseCpus(text), undefined, text)
    }
  })

  it("law: counts any set of CPUs that is written as the kernel writes it", () => {
    const sets = fc.uniqueArray(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 60 })
    fc.assert(
      fc.property(sets, (cpus) => {
        const sorted = [...cpus].sort((left, right) => left - right)
        const ranges: Array<[number, number]> = []
        for (const cpu of sorted) {
          const last = ranges.at(-1)
          if (last !== undefined && last[1] === cpu - 1) last[1] = cpu
          else ranges.push([cpu, cpu])
        }
        const text = ranges.map(([first, last]) => first === last ? `${first}` : `${first}-${last}`).join(",")
        assert.strictEqual(countCpus(text), cpus.length, text)
        assert.deepStrictEqual(parseCpus(text), sorted, text)
      }),
      { numRuns: runs(200) }
    )
  })
})

describe("KernelConfig.parse", () => {
  it("keeps the text of set options and leaves out the rest", () => {
    const options = KernelConfig.parse(
      "#\n# Linux\n#\nCONFIG_BPF=y\nCONFIG_HZ=1000\r\n# CONFIG_OFF is not set\nCONFIG_NAME=\"a=b \\\"c\"\nCONFIG_M=m\nCONFIG_BAD\n" +
        " CONFIG_INDENTED=y\nCONFIG_BPF=n\nCONFIG_EMPTY="
    )
    assert.deepStrictEqual([...options], [
      ["CONFIG_BPF", "y"],
      ["CONFIG_HZ", "1000"],
      ["CONFIG_NAME", "\"a=b \\\"c\""],
      ["CONFIG_M", "m"],
      ["CONFIG_EMPTY", ""]
    ])
  })
})

describe("Kallsyms", () => {
  const table = "0000000000000000 A fixed\n" +
    "ffffffff81000000 T _stext\n" +
    "ffffffff81000010 t local\n" +
    "ffffffff81000020 t local\n" +
    "ffffffff81000030 t same\n" +
    "ffffffff81000030 t same\n" +
    "ffffffff81000040 d data.llvm.1234\n" +
    "ffffffff81000050 t text.llvm.1234\n" +
    "ffffffffc0000000 t of_module\t[nf_tables]\n" +
    "nonsense\n" +
    "zzzz T bad_address\n" +
    "ffffffff81000060 Tglued\n" +
    "11112222333344445 T too_long\n" +
    "ffffffff81000070 T last"

  const find = (
    ...names: ReadonlyArray<string>
  ) => [...Kallsyms.find(new TextEncoder().encode(table), names).of.values()]

  it("finds addresses by name, also those of modules", () => {
    assert.deepStrictEqual(find("_stext", "of_module", "last", "fixed"), [
      0xffff_ffff_8100_0000n,
      0xffff_ffff_c000_0000n,
      0xffff_ffff_8100_0070n,
      0n
    ])
  })

  it("tells names with two addresses from names that are listed twice", () => {
    assert.deepStrictEqual(find("local", "same"), ["ambiguous", 0xffff_ffff_8100_0030n])
  })

  it("takes the compiler's suffix off data, not off functions", () => {
    assert.deepStrictEqual(find("data", "text", "text.llvm.1234", "data.llvm.1234"), [
      0xffff_ffff_8100_0040n,
      undefined,
      0xffff_ffff_8100_0050n,
      undefined
    ])
  })

  it("knows no symbol of a line that is none", () => {
    assert.deepStrictEqual(find("bad_address", "glued", "nonsense", "too_long", "", "T", "[nf_tables]"), [
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined
    ])
  })

  /** The table by lines and texts, as it would be read by somebody with time. */
  const model = (text: string, names: ReadonlyArray<string>, cut = true): Kallsyms.Found => {
    const symbols = text.split("\n").flatMap((line) => {
      const match = /^([0-9a-fA-F]{1,16}) (\S) ([^\t]+)(?:\t\[.*\])?$/.exec(line)
      if (match === null) return []
      const [, address = "", type, symbol = ""] = match
      const name = type === "d" && cut ? symbol.split(".llvm.")[0] ?? "" : symbol
      return [{ name, address: BigInt(`0x${address}`) }]
    })
    return {
      // A name of nothing but what the compiler has added is none.
      of: new Map(names.map((name) => {
        const addresses = [...new Set(symbols.filter((each) => each.name === name).map(({ address }) => address))]
        return [name, addresses.length > 1 ? "ambiguous" : addresses[0]]
      })),
      hidden: symbols.length > 0 && symbols.every(({ address }) => address === 0n)
    }
  }

  const part = fc.constantFrom("a", "bc", "jiffies", "_stext", ".llvm.", ".llvm", "12", ".", "é")
  const symbolName = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join(""))
  const tableLine = fc.tuple(
    fc.constantFrom("ffffffff81000000", "ffffffff81000010", "0000000000000000", "c0100000", "0"),
    fc.constantFrom("t", "T", "d", "D", "b"),
    symbolName,
    fc.constantFrom("", "\t[nf_tables]", "\t[bpf]")
  ).map(([address, type, name, owner]) => `${address} ${type} ${name}${owner}`)
  const tables = fc.tuple(fc.array(tableLine, { maxLength: 8 }), fc.constantFrom("", "\n")).map(([lines, end]) =>
    lines.join("\n") + end
  )

  it("law: finds what going through the lines as texts finds", () => {
    const law = (expected: typeof model) =>
      fc.property(tables, fc.uniqueArray(symbolName, { maxLength: 4 }), (text, names) => {
        const found = Kallsyms.find(new TextEncoder().encode(text), names)
        const wanted = expected(text, names)
        assert.deepStrictEqual([...found.of], [...wanted.of])
        assert.strictEqual(found.hidden, wanted.hidden)
      })
    fc.assert(law(model), { numRuns: runs(1000) })
    // Named fault: a table read without regard to what the compiler renames.
    assert.isTrue(fc.check(law((text, names) => model(text, names, false)), { numRuns: 3000 }).failed)
  })

  it("law: names are those under which addresses are found, but for programs'", () => {
    fc.assert(
      fc.property(tables, (text) => {
        const bytes = new TextEncoder().encode(text)
        const lasting = new TextEncoder().encode(text.split("\n").filter((line) => !line.endsWith("[bpf]")).join("\n"))
        const names = Kallsyms.names(bytes)
        const found = Kallsyms.find(lasting, names.keys())
        for (const [name, count] of names) {
          assert.strictEqual(count, found.of.get(name) === "ambiguous" ? "several" : "one", name)
          assert.isDefined(found.of.get(name))
        }
      }),
      { numRuns: runs(500) }
    )
  })

  it("is gone through in time that grows with it", () => {
    // No owner but in the last line, names of dots alone, and one line without end.
    const many = `${"ffffffff81000000 d ...............\n".repeat(100_000)}ffffffff81000000 d last\t[m]\n`
    assert.deepStrictEqual([...Kallsyms.find(new TextEncoder().encode(many), ["last"]).of.values()], [
      0xffff_ffff_8100_0000n
    ])
    const long = new TextEncoder().encode(`0 d ${".llvm".repeat(400_000)}]`)
    assert.deepStrictEqual([...Kallsyms.find(long, ["x"]).of.values()], [undefined])
  })

  it("law: answers exactly the names that were asked for", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), fc.string(), (names, text) => {
        const found = Kallsyms.find(new TextEncoder().encode(text), names)
        assert.deepStrictEqual([...found.of.keys()].sort(), [...new Set(names)].sort())
      }),
      { numRuns: runs(200) }
    )
  })
})

describe("versionCode", () => {
  const code = (major: number, minor: number, patch: number) => major * 65536 + minor * 256 + patch
  const sources = { signature: undefined, version: "#1 SMP", release: "" }

  it("prefers Ubuntu's signature, then Debian's version, then the release", () => {
    assert.strictEqual(
      versionCode({ ...sources, signature: "Ubuntu 5.15.0-91.101-generic 5.15.131\n", release: "5.15.0-91-generic" }),
      code(5, 15, 131)
    )
    assert.strictEqual(
      versionCode({ ...sources, version: "#1 SMP Debian 6.1.76-1 (2024-02-01)", release: "6.1.0-18-amd64" }),
      code(6, 1, 76)
    )
    assert.strictEqual(versionCode({ ...sources, release: "6.18.44-fc" }), code(6, 18, 44))
  })

  it("saturates the last number, and falls back when a source has none", () => {
    assert.strictEqual(versionCode({ ...sources, release: "4.14.336" }), code(4, 14, 255))
    assert.strictEqual(versionCode({ ...sources, signature: "odd", release: "6.1.2" }), code(6, 1, 2))
    assert.strictEqual(versionCode({ ...sources, release: "6.1" }), undefined)
    assert.strictEqual(versionCode({ ...sources, release: "6.300.1" }), undefined)
    assert.strictEqual(versionCode(sources), undefined)
  })
})

describe("kernelName", () => {
  it("keeps what the kernel takes and replaces the rest", () => {
    assert.strictEqual(kernelName("xdp_fw.rodata"), "xdp_fw.rodata")
    assert.strictEqual(kernelName("a-b c/d"), "a_b_c_d")
    assert.strictEqual(kernelName("äöü😀x"), "_____x")
    assert.strictEqual(kernelName("sixteen_letters_"), "sixteen_letters")
  })

  it("law: is at most 15 letters, digits, dots and underscores", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (name) => assert.match(kernelName(name), /^[\w.]{0,15}$/)))
  })
})
