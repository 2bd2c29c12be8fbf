/**
 * Minimal BTF before its judges: it has all that bpftool's has, of each fixture and each kernel; libbpf relocates with it to
 * the same instructions as with the whole; and where bpftool's does not do, a small program for each difference.
 */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfSubset from "../../src/btf/BtfSubset.ts"
import * as Encode from "../../src/insn/Encode.ts"
import * as MinCoreBtf from "../../src/stages/gen/MinCoreBtf.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import * as Beside from "../support/MinCoreBeside.ts"
import * as Peer from "../support/Peer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import {
  allFixtures,
  describeWith,
  kernel,
  kernelsFolder,
  newBpftool,
  repository,
  temporaryFolder,
  toolPath
} from "../support/Require.ts"
import { objectFile, type RecordSpec } from "../unit/stages/relocate/core/Records.ts"

const vmlinux = "/sys/kernel/btf/vmlinux"

const objects = (): ReadonlyArray<readonly [path: string, object: MinCoreBtf.MinCoreObject]> =>
  allFixtures().flatMap((name) => {
    const path = Path.join(repository, "test/fixtures", name)
    const object = Beside.readObject(path)
    return object === undefined ? [] : [[path, object] as const]
  })

const made = (target: Core.CoreTarget, ...objects: ReadonlyArray<MinCoreBtf.MinCoreObject>): Btf.Btf =>
  Result.getOrThrow(MinCoreBtf.make(target, objects)).btf

const bpftools = { "of the machine": "bpftool", "7.5": newBpftool }

for (const [version, bpftool] of Object.entries(bpftools)) {
  const files = bpftool.includes("/") ? [bpftool] : []
  const tools = bpftool.includes("/") ? [] : [bpftool]
  describeWith(
    { kind: "oracle", tools, files: [...files, vmlinux, kernelsFolder] },
    `minimal BTF beside bpftool ${version}`,
    () => {
      const executable = toolPath(bpftool) ?? bpftool
      for (
        const [name, path] of Object.entries({ running: vmlinux, "6.1": kernel("6.1").btf, "6.12": kernel("6.12").btf })
      ) {
        it(`of the ${name} kernel has all that bpftool's has, and relocates alike, for each fixture and for all`, () => {
          const target = Core.target(Beside.readBtf(path))
          const output = Path.join(temporaryFolder(), "min.btf")
          const all = objects()
          let types = 0
          for (const some of [...all.map((each) => [each]), all]) {
            const theirs = Beside.bpftoolMakes(executable, path, some.map(([path]) => path), output)
            if (typeof theirs === "string") return assert.fail(theirs)
            const ours = made(target, ...some.map(([, object]) => object))
            assert.deepStrictEqual(Beside.lacking(ours, theirs), [])
            for (const [file] of some) {
              const { lines } = Beside.relocatedDifferently(file, target, Core.target(ours))
              assert.deepStrictEqual(lines, [], file)
            }
            types += theirs.offsets.length
          }
          assert.isAbove(types, 20)
        })
      }

      it("named fault: a member that is left out is seen", () => {
        const target = Core.target(Beside.readBtf(vmlinux))
        const output = Path.join(temporaryFolder(), "min.btf")
        const all = objects()
        const theirs = Beside.bpftoolMakes(executable, vmlinux, all.map(([path]) => path), output)
        if (typeof theirs === "string") return assert.fail(theirs)
        const btf = made(target, ...all.map(([, object]) => object))
        const task = Btf.findOne(btf, "task_struct", Btf.BTF_KIND_STRUCT) ?? 0
        const types = new Map<number, BtfSubset.Taken>()
        for (let id = 1; id < btf.endId; id++) types.set(id, id === task ? new Set([0, 1]) : "whole")
        const spoiled = B.expectSuccess(BtfSubset.subset([{ btf, types }])).btf
        assert.include(Beside.lacking(spoiled, theirs).join(), "struct task_struct")
      })
    }
  )
}

describeWith({ kind: "live", ...Libbpf.needs("system"), files: [vmlinux] }, "minimal BTF in libbpf's hands", () => {
  it("makes of the fixtures what the whole makes of them", () => {
    const target = Core.target(Beside.readBtf(vmlinux))
    const minimal = Path.join(temporaryFolder(), "min.btf")
    let programs = 0
    for (const [path, object] of objects()) {
      Fs.writeFileSync(minimal, made(target, object).bytes)
      const sent = Beside.sentDifferently(path, vmlinux, minimal, target)
      assert.deepStrictEqual(sent.lines, [], object.name)
      programs += sent.programs
    }
    assert.isAtLeast(programs, 2)
  })

  const mov = Encode.mov64Imm(1, 1)
  const int = B.int("int", 4, 1)

  /** One object and one kernel: what libbpf sends with the whole, with ours and with bpftool's; or what it says. */
  const three = (local: ReadonlyArray<B.Rec>, specs: ReadonlyArray<RecordSpec>, kernelTypes: ReadonlyArray<B.Rec>) => {
    const folder = temporaryFolder()
    const path = (name: string, bytes: Uint8Array): string => {
      Fs.writeFileSync(Path.join(folder, name), bytes)
      return Path.join(folder, name)
    }
    const object = path("object.o", objectFile(local, specs))
    const whole = B.btfOf(kernelTypes)
    const wholePath = path("whole.btf", whole.bytes)
    const file = Beside.readObject(object)
    if (file === undefined) return assert.fail("no records")
    const ours = path("ours.btf", made(Core.target(whole), file).bytes)
    const theirs = Path.join(folder, "theirs.btf")
    const bpftool = Beside.bpftoolMakes(toolPath("bpftool") ?? "bpftool", wholePath, [object], theirs)
    const sent = (btf: string): string => {
      const { calls, error } = Peer.load(object, ["--btf", btf])
      const call = calls?.find(({ command, name }) => command === "PROG_LOAD" && name === "prog")
      if (call === undefined) {
        return /relocation decision ambiguity|field offset ambiguity/.exec(error?.log ?? "")?.[0] ?? "nothing"
      }
      return (call.insns ?? "").slice(0, specs.length * 16)
    }
    return { whole: sent(wholePath), ours: sent(ours), theirs: typeof bpftool === "string" ? bpftool : sent(theirs) }
  }

  it("has the second type of a name, which bpftool's loses", () => {
    const kernelTypes = [int, B.struct("s", 4, [["x", 1, 0]]), B.struct("s___2", 8, [["y", 1, 32]])]
    const local = [int, B.struct("s", 8, [["x", 1, 0], ["y", 1, 0]]), B.struct("s___o", 8, [["y", 1, 0]])]
    const asks: ReadonlyArray<RecordSpec> = [
      { insn: mov, type: 2, access: "0:0", kind: "field_exists" },
      { insn: mov, type: 3, access: "0", kind: "type_exists" },
      { insn: Encode.mov64Imm(1, 8), type: 3, access: "0", kind: "type_size" }
    ]
    // Two sizes: libbpf refuses them, and with bpftool's BTF it sees the first one alone.
    const { ours, theirs, whole } = three(local, asks, kernelTypes)
    assert.strictEqual(whole, "relocation decision ambiguity")
    assert.strictEqual(ours, whole)
    assert.notStrictEqual(theirs, whole)
  })
  it("has what a pointer leads to where types are compared, which bpftool's loses", () => {
    const types = (to: number) => [int, B.ptr(to), B.struct("s", 8, [["p", 2, 0]])]
    const asks: ReadonlyArray<RecordSpec> = [
      { insn: mov, type: 3, access: "0:0", kind: "field_exists" },
      { insn: mov, type: 3, access: "0", kind: "type_matches" }
    ]
    const { ours, theirs, whole } = three(types(0), asks, types(1))
    assert.strictEqual(whole, "b701000001000000b701000000000000")
    assert.strictEqual(ours, whole)
    assert.strictEqual(theirs, "b701000001000000b701000001000000")
  })
  it("keeps an array of no elements from being the last member, which bpftool's does not", () => {
    const local = [int, B.array(1, 1, 8), B.struct("s", 32, [["a", 2, 0]])]
    const kernelTypes = [int, B.array(1, 1, 0), B.struct("s", 8, [["a", 2, 0], ["b", 1, 0]])]
    const asks: ReadonlyArray<RecordSpec> = [
      { insn: mov, type: 3, access: "0:0:5", kind: "field_exists" },
      { insn: mov, type: 3, access: "0:0", kind: "field_exists" }
    ]
    const { ours, theirs, whole } = three(local, asks, kernelTypes)
    assert.strictEqual(whole, "b701000000000000b701000001000000")
    assert.strictEqual(ours, whole)
    assert.strictEqual(theirs, "b701000001000000b701000001000000")
  })
  it("is made where types have tags, are only declared or contain themselves, which bpftool refuses or does not survive", () => {
    const asks = (type: number): ReadonlyArray<RecordSpec> => [{ insn: mov, type, access: "0", kind: "type_exists" }]
    const cases = [
      [int, B.typeTag("rcu", 1), B.ptr(2), B.typedef("t", 3)],
      [int, B.fwd("f", false), B.ptr(2), B.typedef("t", 3)]
    ]
    for (const types of cases) {
      const { ours, theirs, whole } = three(types, asks(4), types)
      assert.strictEqual(ours, whole)
      assert.match(theirs, /unsupported kind/)
    }
    const itself = [int, B.struct("s", 16, [["f", 3, 0]]), B.ptr(4), B.funcProto(1, [["", 2]])]
    const { ours, theirs, whole } = three(itself, [{ insn: mov, type: 2, access: "0", kind: "type_matches" }], itself)
    assert.strictEqual(ours, whole)
    assert.strictEqual(theirs, "")
  })
})
