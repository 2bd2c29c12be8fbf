/**
 * CO-RE before its judge: the instructions of a relocated program are those that libbpf sends to the kernel, for the
 * fixtures on the running kernel and for structs made at random with kernels made of them; and where they are meant to
 * differ, a small program for each difference that shows what libbpf does.
 */
import { assert, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as Encode from "../../src/insn/Encode.ts"
import * as Insn from "../../src/insn/Insn.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import { compareObject, coreBeside, relocateObject } from "../support/CoreBeside.ts"
import * as Peer from "../support/Peer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { allFixtures, describeWith, fixture, repository, temporaryFolder, runsToMeet } from "../support/Require.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import {
  accesses,
  bitten,
  removed,
  renamedField,
  resized,
  retypedAnyhow,
  varied
} from "../unit/stages/relocate/core/Accesses.ts"
import { objectFile, type RecordSpec, show } from "../unit/stages/relocate/core/Records.ts"
import * as Structs from "../unit/stages/relocate/core/Structs.ts"

const vmlinux = "/sys/kernel/btf/vmlinux"

/** One object and one kernel, relocated by both. */
const both = (local: ReadonlyArray<B.Rec>, specs: ReadonlyArray<RecordSpec>, kernel: ReadonlyArray<B.Rec>) => {
  const folder = temporaryFolder()
  const path = Path.join(folder, "object.o")
  const types = Path.join(folder, "kernel.btf")
  const bytes = objectFile(local, specs)
  const btf = B.btfOf(kernel)
  Fs.writeFileSync(path, bytes)
  Fs.writeFileSync(types, btf.bytes)
  const loaded = Peer.load(path, ["--btf", types])
  const object = Result.getOrThrow(Open.fromBytes(bytes, { path }))
  const programs = relocateObject(object, Core.target(btf))
  return { loaded, programs, comparison: compareObject(programs, loaded) }
}

describeWith({ kind: "live", ...Libbpf.needs("system"), files: [vmlinux] }, "CO-RE beside libbpf", () => {
  it("the fixtures, on the running kernel", () => {
    const target = Core.target(Result.getOrThrow(Btf.parse(new Uint8Array(Fs.readFileSync(vmlinux)))))
    let records = 0
    for (const name of allFixtures().filter((name) => name.endsWith(".bpf.o"))) {
      const opened = Open.fromBytes(fixture(name), { path: name })
      if (Result.isFailure(opened) || opened.success.btfExt?.coreRelocations === undefined) continue
      const done = coreBeside(Path.join(repository, "test/fixtures", name), target, [])
      assert.deepStrictEqual(done.differences, [], name)
      records += done.records
    }
    assert.isAtLeast(records, 25)
  })

  const changes = { moved: varied, removed, renamed: renamedField, bitten, resized, retyped: retypedAnyhow }
  for (const [name, experiments] of Object.entries(changes)) {
    it(`structs at random, ${name} in the kernel`, () => {
      const seen = { compared: 0, refused: 0 }
      fc.assert(
        fc.property(experiments, ({ mine, names, theirs }) => {
          const local = Structs.struct(names[0], mine)
          const kernel = Structs.struct(names[1], theirs)
          const type = local.types.length
          const { specs } = accesses(local, type, "little")
          const whole: ReadonlyArray<RecordSpec> = [
            { insn: Encode.mov64Imm(1, 1), type, access: "0", kind: "type_exists" },
            { insn: Encode.mov64Imm(1, 1), type, access: "0", kind: "type_matches" },
            { insn: Encode.mov64Imm(1, local.bytes), type, access: "0", kind: "type_size" },
            { insn: Encode.ldImm64(1, 5n), type, access: "0", kind: "target_type_id" },
            { insn: Encode.ldImm64(1, 5n), type, access: "0", kind: "local_type_id" }
          ]
          const { comparison } = both(local.types, [...specs, ...whole], kernel.types)
          assert.deepStrictEqual(comparison.differences, [])
          seen.compared += comparison.records
          seen.refused += comparison.refused
          assert.strictEqual(comparison.programs + comparison.refused, 1)
        }),
        { numRuns: runsToMeet(150), endOnFailure: true }
      )
      assert.isAbove(seen.compared, 500)
    })
  }

  it("named fault: programs that are not relocated differ", () => {
    const local = [B.int("int", 4, 1), B.struct("s", 8, [["a", 1, 0], ["b", 1, 32]])]
    const kernel = [B.int("int", 4, 1), B.struct("s", 8, [["b", 1, 0], ["a", 1, 32]])]
    const { loaded, programs } = both(local, [{ insn: Encode.mov64Imm(1, 4), type: 2, access: "0:1", kind: 0 }], kernel)
    const stale = programs.map((program) => ({
      ...program,
      result: Result.map(
        program.result,
        (done) => ({ ...done, insns: Encode.program(Encode.mov64Imm(1, 4), done.insns.subarray(8)) })
      )
    }))
    assert.deepStrictEqual(compareObject(programs, loaded).differences, [])
    assert.isAbove(compareObject(stale, loaded).differences.length, 0)
  })

  /** The first instruction of the only program, as each leaves it. */
  const firsts = (local: ReadonlyArray<B.Rec>, specs: ReadonlyArray<RecordSpec>, kernel: ReadonlyArray<B.Rec>) => {
    const { loaded, programs } = both(local, specs, kernel)
    const sent = loaded.calls?.find(({ command, name }) => command === "PROG_LOAD" && name === "prog")
    const [program] = programs
    const insns = program === undefined || Result.isFailure(program.result)
      ? new Uint8Array()
      : program.result.success.insns
    return { ours: insns, libbpf: Peer.fromHex(sent?.insns), log: loaded.error?.log ?? "" }
  }
  const mov = Encode.mov64Imm(1, 1)

  it("on purpose not so: an earlier record does not decide which types a later one sees", () => {
    const int = B.int("int", 4, 1)
    const local = [int, B.struct("s", 8, [["x", 1, 0], ["y", 1, 32]])]
    const kernel = [int, B.struct("s", 4, [["x", 1, 0]]), B.struct("s___2", 4, [["y", 1, 0]])]
    const asks = ["0:0", "0:1"].map((access): RecordSpec => ({ insn: mov, type: 2, access, kind: "field_exists" }))
    const { libbpf, ours } = firsts(local, asks, kernel)
    assert.deepStrictEqual([Insn.imm(ours, 0), Insn.imm(ours, 1)], [1, 1])
    assert.deepStrictEqual([Insn.imm(libbpf, 0), Insn.imm(libbpf, 1)], [1, 0])
    const turned = firsts(local, asks.toReversed(), kernel)
    assert.deepStrictEqual([Insn.imm(turned.libbpf, 0), Insn.imm(turned.libbpf, 1)], [1, 0])
  })

  it("on purpose not so: unsigned enumerators of 32 bits are not extended with their sign", () => {
    const e = (value: number) => [B.enumeration("e", 4, false, [["A", value]])]
    const ask = (value: bigint): RecordSpec => ({
      insn: Encode.ldImm64(1, value),
      type: 1,
      access: "0",
      kind: "enumval_value"
    })
    const small = firsts(e(5), [ask(5n)], e(0x8000_0001))
    assert.strictEqual(Insn.imm64(small.ours, 0), 0x8000_0001n)
    assert.strictEqual(Insn.imm64(small.libbpf, 0), 0xffff_ffff_8000_0001n)
    const large = firsts(e(0x8000_0001), [ask(0x8000_0001n)], e(5))
    assert.strictEqual(Insn.imm64(large.ours, 0), 5n)
    assert.match(large.log, /exp 18446744071562067969/)
  })

  it("on purpose not so: floating-point types exist", () => {
    const types = [B.float("double", 8)]
    const { libbpf, ours } = firsts(types, [{ insn: mov, type: 1, access: "0", kind: "type_exists" }], types)
    assert.strictEqual(Insn.imm(ours, 0), 1)
    assert.strictEqual(Insn.imm(libbpf, 0), 0)
  })

  it("on purpose not so: a sign-extending load that grows to 8 bytes is an ordinary one", () => {
    const struct = (size: number) => [B.int("char", size, 3), B.struct("s", 8, [["c", 1, 0]])]
    const load = Encode.ldx(0x10, 1, 2, 0)
    load[0] = (load[0] ?? 0) & 0x1f | 0x80
    const { libbpf, ours } = firsts(struct(1), [{ insn: load, type: 2, access: "0:0", kind: "byte_off" }], struct(8))
    assert.strictEqual(show(ours.subarray(0, 8)), show(Encode.ldx(0x18, 1, 2, 0)))
    assert.strictEqual(Insn.opcode(libbpf, 0), 0x99)
  })
})
