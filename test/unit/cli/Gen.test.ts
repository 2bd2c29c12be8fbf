import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../../src/btf/Btf.ts"
import * as BtfFile from "../../../src/btf/BtfFile.ts"
import * as Encode from "../../../src/insn/Encode.ts"
import * as MinCoreBtf from "../../../src/stages/gen/MinCoreBtf.ts"
import * as Core from "../../../src/stages/relocate/core/Core.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"
import * as InProcess from "../../support/InProcess.ts"
import { repository, temporaryFolder } from "../../support/Require.ts"
import { objectFile, type RecordSpec } from "../stages/relocate/core/Records.ts"

/** Runs `gen min_core_btf` in this process: its exit status, and what it prints. */
const command = (...args: ReadonlyArray<string>) => InProcess.command("gen", "min_core_btf", ...args)

const int = B.int("int", 4, 1)
const exists = (type: number, access = "0:0"): RecordSpec => ({
  insn: Encode.mov64Imm(1, 1),
  type,
  access,
  kind: "field_exists"
})
const kernel = [int, B.struct("s", 16, [["a", 1, 0], ["b", 1, 32], ["x", 1, 64]]), B.struct("other", 4, [["z", 1, 0]])]
const local = [int, B.struct("s", 4, [["x", 1, 0]]), B.struct("m", 4, [["y", 1, 0]])]

/** A folder with these files; answers their paths. */
const files = <Name extends string>(contents: Readonly<Record<Name, Uint8Array>>): Readonly<Record<Name, string>> => {
  const folder = temporaryFolder()
  const paths: Array<readonly [string, string]> = []
  for (const [name, bytes] of Object.entries<Uint8Array>(contents)) {
    Fs.mkdirSync(Path.dirname(Path.join(folder, name)), { recursive: true })
    Fs.writeFileSync(Path.join(folder, name), bytes)
    paths.push([name, Path.join(folder, name)])
  }
  return Object.fromEntries(paths) as Readonly<Record<Name, string>>
}

const setup = () => files({ "vmlinux.btf": B.blob(kernel), "one.bpf.o": objectFile(local, [exists(2)]) })

const read = (path: string): Btf.Btf => B.expectSuccess(Btf.parse(new Uint8Array(Fs.readFileSync(path))))

const names = (btf: Btf.Btf): ReadonlyArray<string> =>
  Array.from({ length: btf.endId - 1 }, (_, index) => Btf.typeName(btf, index + 1))

describe("gen min_core_btf", () => {
  it.live("writes what the objects need, and says how much that is", () =>
    Effect.gen(function*() {
      const { "one.bpf.o": object, "vmlinux.btf": vmlinux } = setup()
      const output = Path.join(temporaryFolder(), "min.btf")
      const { status, stderr, stdout } = yield* command(vmlinux, output, object)
      assert.deepStrictEqual([status, stderr], [0, ""])
      const btf = read(output)
      assert.deepStrictEqual(names(btf), ["int", "struct s"])
      assert.strictEqual(
        stdout,
        `${output}: 2 types, ${btf.bytes.length} bytes of 3 types, ${
          B.blob(kernel).length
        } bytes\n  ${object}: 1 CO-RE relocation`
      )
    }))

  it.live("tells scripts the same", () =>
    Effect.gen(function*() {
      const { "one.bpf.o": object, "vmlinux.btf": vmlinux } = setup()
      const output = Path.join(temporaryFolder(), "min.btf")
      const { stdout } = yield* command(vmlinux, output, object, object, "--json")
      const bytes = Fs.statSync(output).size
      const about = { path: object, relocations: 1, target_type_ids: 0, problems: [] }
      assert.deepStrictEqual(JSON.parse(stdout), {
        input: vmlinux,
        output: { path: output, bytes, types: 2, byte_order: "little", base_types: null },
        types: { before: 3, after: 2 },
        bytes: { before: B.blob(kernel).length, after: bytes },
        modules: [],
        objects: [about, about]
      })
    }))

  it.live("is what the library makes, of a fixture and a real kernel's file", () =>
    Effect.gen(function*() {
      const fixture = Path.join(repository, "test/fixtures/core_reads.bpf.o")
      const { "vmlinux.btf": vmlinux } = files({
        "vmlinux.btf": B.blob([int, B.struct("task_struct", 64, [["pid", 1, 32], ["tgid", 1, 64], ["comm", 1, 96]])])
      })
      const output = Path.join(temporaryFolder(), "min.btf")
      const { status, stdout } = yield* command(vmlinux, output, fixture)
      assert.strictEqual(status, 0)
      assert.include(stdout, "1 relocation for ids of the kernel's types: they become ids of this file")
      const { btf, ext } = B.expectSuccess(BtfFile.parse(new Uint8Array(Fs.readFileSync(fixture)), { ext: true }))
      const made = B.expectSuccess(MinCoreBtf.make(Core.target(read(vmlinux)), [{ name: fixture, btf, ext }]))
      assert.deepStrictEqual(new Uint8Array(Fs.readFileSync(output)), made.btf.bytes)
    }))

  it.live("replaces a file that is there, and leaves it where something fails", () =>
    Effect.gen(function*() {
      const { "one.bpf.o": object, "vmlinux.btf": vmlinux } = setup()
      const folder = temporaryFolder()
      const output = Path.join(folder, "min.btf")
      Fs.writeFileSync(output, "what was there")
      const failed = yield* command(vmlinux, output, object, "absent.o")
      assert.deepInclude(failed, { status: 1, stdout: "", stderr: "error: absent.o: no such file" })
      assert.strictEqual(Fs.readFileSync(output, "utf8"), "what was there")
      assert.strictEqual((yield* command(vmlinux, output, object)).status, 0)
      assert.deepStrictEqual(names(read(output)), ["int", "struct s"])
      assert.deepStrictEqual(Fs.readdirSync(folder), ["min.btf"])
    }))

  it.live("does not write over an object, or over what it reads", () =>
    Effect.gen(function*() {
      const { "one.bpf.o": object, "vmlinux.btf": vmlinux } = setup()
      const before = Fs.readFileSync(object)
      const forgotten = yield* command(vmlinux, object, object)
      assert.strictEqual(forgotten.status, 2)
      assert.include(forgotten.stderr, "is an ELF file, and would be lost")
      assert.deepStrictEqual(Fs.readFileSync(object), before)
      const itself = yield* command(vmlinux, `${Path.dirname(vmlinux)}/./vmlinux.btf`, object)
      assert.strictEqual(itself.status, 2)
      assert.include(itself.stderr, "is what the BTF is made of")
      assert.strictEqual((yield* command(vmlinux, object)).status, 2)
    }))

  it.live("takes a kernel profile's folder, modules, and a module over its kernel", () =>
    Effect.gen(function*() {
      const base = B.btfOf(kernel)
      const module = B.btfOf([B.struct("m", 8, [["y", 1, 32]])], { base }).bytes
      const { "one.bpf.o": object, "profile/btf/vmlinux": vmlinux, "m.btf": m } = files({
        "one.bpf.o": objectFile(local, [exists(2), exists(3)]),
        "profile/btf/vmlinux": base.bytes,
        "m.btf": module
      })
      const output = Path.join(temporaryFolder(), "min.btf")
      const profile = Path.dirname(Path.dirname(vmlinux))
      assert.strictEqual((yield* command(profile, output, object)).status, 0)
      assert.deepStrictEqual(names(read(output)), ["int", "struct s"])
      const { stdout } = yield* command(profile, output, object, "--module", m, "--json")
      assert.deepInclude(JSON.parse(stdout), { modules: [m], types: { before: 4, after: 3 } })
      assert.deepStrictEqual(names(read(output)), ["int", "struct s", "struct m"])
      assert.strictEqual((yield* command(m, output, object, "--base-btf", vmlinux)).status, 0)
      assert.deepStrictEqual(names(read(output)), ["int", "struct s", "struct m"])
      const alone = yield* command(m, output, object)
      assert.strictEqual(alone.status, 1)
      assert.match(alone.stderr, /m\.btf: .*hint: this may be split BTF: give the base BTF/s)
    }))

  it.live("tells what cannot be applied, and writes what the others need", () =>
    Effect.gen(function*() {
      const { "one.bpf.o": object, "two.bpf.o": two, "vmlinux.btf": vmlinux } = files({
        "one.bpf.o": objectFile(local, [exists(2), exists(2, "0:7")]),
        "two.bpf.o": objectFile(local, Array.from({ length: 30 }, (_, index) => exists(2, `0:${index + 9}`))),
        "vmlinux.btf": B.blob([...kernel, B.struct("s___2", 4, [["x", 1, 0]])])
      })
      const output = Path.join(temporaryFolder(), "min.btf")
      const { status, stderr, stdout } = yield* command(vmlinux, output, object)
      assert.strictEqual(status, 1)
      assert.include(stdout, `${output}: 3 types`)
      assert.include(stderr, `${object}: socket: CO-RE relocation 0 at instruction 0 (field_exists struct s.x): `)
      assert.include(stderr, "hint: the kernel has several types of this name")
      assert.include(stderr, "CO-RE relocation 1 at instruction 1")
      assert.notInclude(stderr, "exit status")
      assert.deepStrictEqual(names(read(output)), ["int", "struct s", "struct s___2"])
      const document = JSON.parse((yield* command(vmlinux, output, object, "--json")).stdout)
      assert.deepInclude(document.objects[0].problems[0], {
        section: "socket",
        record: 0,
        insn: 0,
        kind: "field_exists",
        path: "struct s.x",
        reason: "Ambiguous"
      })
      assert.include((yield* command(vmlinux, output, two)).stderr, "… and 10 more")
    }))

  it.live("says what is wrong with a file", () =>
    Effect.gen(function*() {
      const { "one.bpf.o": object, text, "vmlinux.btf": vmlinux } = files({
        "one.bpf.o": objectFile(local, [exists(2)]),
        "vmlinux.btf": B.blob(kernel),
        "text": new TextEncoder().encode("no object")
      })
      const output = Path.join(temporaryFolder(), "min.btf")
      const said = function*(...args: ReadonlyArray<string>) {
        const { status, stderr } = yield* command(...args)
        assert.strictEqual(status, 1)
        assert.isFalse(Fs.existsSync(output))
        return stderr
      }
      assert.match(yield* said(vmlinux, output, vmlinux), /vmlinux\.btf: has no \.BTF\.ext/)
      assert.match(yield* said(vmlinux, output, text), /text: BTF: the bytes are neither BTF nor an ELF file/)
      assert.match(yield* said(text, output, object), /text: BTF: the bytes are neither BTF nor an ELF file/)
      const big = Path.join(repository, "test/fixtures/core_reads.eb.o")
      assert.match(yield* said(vmlinux, output, big), /core_reads\.eb\.o: the object's types are big-endian/)
      const cut = Fs.readFileSync(object).subarray(0, 200)
      Fs.writeFileSync(text, cut)
      assert.match(yield* said(vmlinux, output, text), /text: /)
    }))

  it.live("explains itself, and is listed", () =>
    Effect.gen(function*() {
      const { status, stdout } = yield* command("--help")
      assert.strictEqual(status, 0)
      assert.match(stdout, /^usage: effect-bpf gen min_core_btf \[flags\] <input> <output> <object\.\.\.>/)
      assert.include(stdout, "Not part of it is what loaders look for in the running kernel itself")
    }))
})
