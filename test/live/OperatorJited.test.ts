/** `prog dump jited` of a program of the running kernel: LLVM judges what its machine code is. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { command } from "../support/InProcess.ts"
import { bpffs, describeWith, repository, run, temporaryFolder } from "../support/Require.ts"

interface Insn {
  readonly pc: string
  readonly operation: string
  readonly src?: string
  readonly opcodes?: ReadonlyArray<string>
}

interface Function {
  readonly name: string
  readonly proto: string
  readonly insns?: ReadonlyArray<Insn>
  readonly opcodes?: ReadonlyArray<string>
}

const firewall = Path.join(repository, "test/fixtures/xdp_firewall.bpf.o")

/** The bytes of a function: each instruction's, or all where nothing takes them apart. */
const bytesOf = ({ insns, opcodes }: Function): ReadonlyArray<number> =>
  (opcodes ?? insns?.flatMap(({ opcodes = [] }) => opcodes) ?? []).map(Number)

describeWith({ kind: "live", root: true, tools: ["bpftool"] }, "prog dump jited", () => {
  it.live("has all bytes of all functions, under their symbols and lines", () =>
    Effect.gen(function*() {
      const pin = Path.join(bpffs(), "jited")
      const file = Path.join(temporaryFolder(), "code")
      assert.strictEqual((yield* command("prog", "load", firewall, pin)).status, 0)
      const shown: unknown = JSON.parse(run("bpftool", ["-j", "prog", "show", "pinned", pin]).stdout)
      const written = yield* command("prog", "dump", "jited", "pinned", pin, "file", file, "--json")
      if (Reflect.get(Object(shown), "jited") !== true) {
        assert.match(written.stdout, /is not compiled/)
        return Fs.rmSync(pin)
      }
      assert.deepStrictEqual(written, { status: 0, stdout: "null", stderr: "" })
      const code = new Uint8Array(Fs.readFileSync(file))
      assert.strictEqual(code.length, Reflect.get(Object(shown), "bytes_jited"))
      const { stdout } = yield* command("prog", "dump", "jited", "pinned", pin, "opcodes", "linum", "--json")
      const functions: ReadonlyArray<Function> = JSON.parse(stdout)
      assert.deepStrictEqual(functions.flatMap(bytesOf), [...code])
      assert.strictEqual(functions[0]?.name, `bpf_prog_${String(Reflect.get(Object(shown), "tag"))}_xdp_firewall`)
      assert.strictEqual(functions[0]?.proto, "int xdp_firewall(struct xdp_md * ctx)")
      assert.match(functions[1]?.name ?? "", /^bpf_prog_[0-9a-f]{16}_\w+$/)
      const insns = functions[0]?.insns
      if (insns !== undefined) {
        assert.isTrue(insns.some(({ src }) => src === "counters = bpf_map_lookup_elem(&stats, &protocol);"))
        const text = yield* command("prog", "dump", "jited", "pinned", pin)
        assert.match(text.stdout, /^; counters = bpf_map_lookup_elem\(&stats, &protocol\);$/m)
        // Calls of other functions of the program are named, too.
        assert.include(text.stdout, `<${functions[1]?.name ?? ""}>`)
      }
      Fs.rmSync(pin)
    }))
})

describeWith({ kind: "live", root: true, tools: ["llvm-mc"] }, "prog dump jited beside LLVM", () => {
  it.live("has the same instructions", () =>
    Effect.gen(function*() {
      const pin = Path.join(bpffs(), "jited")
      assert.strictEqual((yield* command("prog", "load", firewall, pin)).status, 0)
      const { stdout } = yield* command("prog", "dump", "jited", "pinned", pin, "opcodes", "--json")
      Fs.rmSync(pin)
      const functions: ReadonlyArray<Function> = JSON.parse(stdout)
      const triple = process.arch === "arm64" ? "aarch64" : "x86_64"
      for (const each of functions) {
        const input = bytesOf(each).map((byte) => `0x${byte.toString(16)}`).join(" ")
        const judged = run("llvm-mc", ["-disassemble", `-triple=${triple}`], { input })
        const theirs = judged.stdout.split("\n").flatMap((line) => /^\t([a-z]\w*)/.exec(line)?.[1] ?? [])
        // LLVM has prefixes on lines of their own.
        const ours = each.insns?.flatMap(({ operation }) => operation.split(" ")) ?? []
        assert.isAbove(theirs.length, 10)
        assert.deepStrictEqual(ours, theirs)
      }
    }))
})
