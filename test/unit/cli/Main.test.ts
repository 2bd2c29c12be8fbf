import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { command } from "../../support/InProcess.ts"
import { repository, temporaryFolder } from "../../support/Require.ts"

const fixture = (name: string) => Path.join(repository, "test/fixtures", name)
const firewall = fixture("xdp_firewall.bpf.o")

/** A file of these bytes. */
const file = (name: string, bytes: string | Uint8Array): string => {
  const path = Path.join(temporaryFolder(), name)
  Fs.writeFileSync(path, bytes)
  return path
}

describe("effect-bpf", () => {
  it.live("explains itself", () =>
    Effect.gen(function*() {
      const help = yield* command("--help")
      assert.strictEqual(help.status, 0)
      for (const word of ["inspect", "plan", "run", "prog", "kernel", "--json", "Exit status", "Examples"]) {
        assert.include(help.stdout, word)
      }
      assert.strictEqual(help.stderr, "")
      assert.strictEqual((yield* command()).stdout, help.stdout)
      assert.strictEqual((yield* command("--version")).stdout, "effect-bpf 1.2.3")
    }))

  it.live("explains every command with an example", () =>
    Effect.gen(function*() {
      for (
        const verb of [["inspect"], ["plan"], ["run"], ["prog", "load"], ["prog", "loadall"], ["kernel", "snapshot"], [
          "kernel",
          "show"
        ]]
      ) {
        const { status, stdout } = yield* command(...verb, "--help")
        assert.strictEqual(status, 0)
        assert.match(stdout, new RegExp(`^usage: effect-bpf ${verb.join(" ")} `))
        assert.match(stdout, new RegExp(`^Examples\\n(?: {2}# .*\\n)? {2}effect-bpf ${verb.join(" ")} `, "m"))
      }
    }))

  const wrong: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
    [["frobnicate"], /error: Unknown subcommand "frobnicate"/],
    [["inspectt", firewall], /Did you mean this\?\n\s+inspect/],
    [["inspect"], /error: Missing required argument: object\nusage: effect-bpf inspect/],
    [["inspect", "a", "b"], /error: Unexpected positional argument/],
    [["inspect", firewall, "--unknown"], /error: Unrecognized flag: --unknown/],
    [["inspect", firewall, "--prog", "xdp_firewal"], /hint: did you mean xdp_firewall\?/],
    [
      ["plan", firewall, "--kernel", "nothing"],
      /error: nothing: there is no kernel of this name, and no such file\nhint: .*live/
    ],
    [["kernel", "show", "nothing"], /no such file\nhint: a kernel may be live/],
    [["kernel", "snapshot"], /Missing required argument: out/],
    [["prog", "load", firewall, "/sys/fs/bpf/x", "--kernel", "simulated"], /"simulated"\. Expected one of: live/],
    [["run", firewall, "xdp_firewall", "--data-in", firewall, "--coverage"], /add --kernel simulated/],
    [["plan", firewall, "--set", "nothing=1"], /there is no such global variable/],
    [["plan", firewall, "--set", "blocked_ports=[70000]"], /70000 does not fit/],
    [["plan", firewall, "--map", "stats"], /as in --map stats\.max_entries=1024/],
    [["run", firewall, "nothing"], /there is no such program\nhint: programs of the object: xdp_firewall/],
    [["run", firewall, "report"], /is a subprogram/],
    [["run", firewall, "xdp_firewall"], /hint: add --data-in FILE/],
    [["run", firewall, "xdp_firewall", "--repeat", "0", "--data-in", "x"], /from 1 to 2147483647/],
    [["run", fixture("externs.bpf.o"), "copy_configuration", "--data-in", firewall], /do not run on a packet/],
    [["prog", "load", firewall], /Missing required argument: path/],
    [["prog", "load", firewall, "/sys/fs/bpf/x", "--prog", "nothing"], /there is no such program/],
    [["prog", "load", firewall, "/sys/fs/bpf/x", "--no-autoload", "xdp_firewall"], /no program that a load takes/],
    [["prog", "load", firewall, "/sys/fs/bpf/x", "--only", "nothing"], /--only nothing: there is no such program/],
    [["prog", "load", firewall, "/sys/fs/bpf/x", "autoattached"], /autoattached: nothing of this name is known/],
    [["prog", "load", firewall, "/sys/fs/bpf/x", "map", "idx", "99", "id", "1"], /the object has no such map/],
    [["prog", "load", firewall, "/sys/fs/bpf/x", "type", "nothing"], /is no known section/],
    [["prog", "dump", "code", "id", "1"], /what is to be shown of the program is expected\nhint: prog dump xlated/],
    [["prog", "stats", "id", "1", "duration", "1e3"], /a number of seconds from 0\.001 to 1000000 is expected/],
    [["prog", "profile", "id", "1", "heat"], /heat: nothing of this name is counted\nhint: there are cycles/],
    [["prog", "attach", "id", "1", "xdp"], /xdp: programs are not attached so here/],
    [["prog", "tracelog", "stdout"], /prog: none is named/],
    [["batch", "file"], /file/],
    [["prog", "run", "tag", "1"], /a tag is 16 hexadecimal digits/]
  ]

  for (const [args, expected] of wrong) {
    it.live(`ends with status 2 on ${args.map((arg) => Path.basename(arg)).join(" ")}`, () =>
      Effect.gen(function*() {
        const { status, stderr, stdout } = yield* command(...args)
        assert.match(stderr, expected)
        assert.strictEqual(stdout, "")
        assert.strictEqual(status, 2)
      }))
  }

  it.live("ends with status 1 when the work fails, and says what to do", () =>
    Effect.gen(function*() {
      const elf = new Uint8Array(Fs.readFileSync(firewall))
      const x86 = elf.slice()
      x86.set([62, 0], 18)
      const cases: ReadonlyArray<readonly [string, RegExp]> = [
        ["/no/such/file", /^error: \/no\/such\/file: no such file$/],
        [repository, /not a regular file but a Directory$/],
        [file("text.o", "hello"), /not an ELF file .*\nhint: a BPF object file is expected, .*clang -target bpf/],
        [
          file("firewall.bpf.c", "int x;"),
          /hint: this is source: compile it first, clang .*firewall\.bpf\.c -o .*firewall\.bpf\.o$/
        ],
        [file("empty.o", ""), /not an ELF file/],
        [
          file("cut.o", elf.subarray(0, 3000)),
          /reaches beyond the end of the file: e_shoff .*\nhint: the file may have been cut off$/
        ],
        [file("x86.o", x86), /machine 62, not BPF \(247\)\nhint: compile with `clang -target bpf/],
        [fixture("link_main.bpf.o"), /hint: .*link the objects first$/]
      ]
      for (const [path, expected] of cases) {
        const { status, stderr, stdout } = yield* command("inspect", path)
        assert.match(stderr, expected)
        assert.notMatch(stderr, /^\s+at .*:\d+:\d+/m, "a stack trace")
        assert.strictEqual(stdout, "")
        assert.strictEqual(status, 1)
      }
    }))

  it.live("names the flag for what a hint asks for", () =>
    Effect.gen(function*() {
      const { status, stderr } = yield* command("plan", fixture("section_kinds.bpf.o"))
      assert.strictEqual(status, 1)
      assert.match(stderr, /turn its autoload off\nhint: here that is --no-autoload kind_struct_ops/)
    }))

  it.live("names the other program that a program is for, and its function", () =>
    Effect.gen(function*() {
      const plan = ["plan", fixture("program_targets.bpf.o"), "--kernel", "simulated", "--autoload", "replacement"]
      const unnamed = yield* command(...plan)
      assert.match(
        unnamed.stderr,
        /hint: here that is --attach-to replacement=HANDLE:FUNCTION, or --no-autoload replacement/
      )
      const { status, stdout } = yield* command(...plan, "--attach-to", "replacement=target:choose")
      assert.strictEqual(status, 0)
      assert.match(stdout, /program replacement: ext, .*, for function choose of target$/m)
      assert.match(
        (yield* command(...plan, "--attach-to", "replacement=7:choose")).stdout,
        /BPF_\*_GET_FD_BY_ID +the program that replacement is for: id 7/
      )
    }))

  it.live("prints failures as a document, too, with --json", () =>
    Effect.gen(function*() {
      const { status, stderr, stdout } = yield* command("inspect", "/no/such/file", "--json")
      assert.strictEqual(status, 1)
      assert.include(stderr, "no such file")
      assert.deepStrictEqual(JSON.parse(stdout), {
        error: "/no/such/file: no such file",
        type: "FileReadError",
        hints: [],
        path: "/no/such/file",
        reason: "NotFound"
      })
      const notElf = JSON.parse((yield* command("inspect", file("text.o", "hello"), "--json")).stdout)
      assert.deepInclude(notElf, { type: "ElfError", reason: "NotElf", offset: 0 })
    }))

  it.live("inspects: one document on standard output", () =>
    Effect.gen(function*() {
      const { status, stderr, stdout } = yield* command("inspect", firewall, "-j")
      assert.strictEqual(status, 0)
      assert.strictEqual(stderr, "")
      assert.notInclude(stdout, "\n")
      const pretty = yield* command("--pretty", "inspect", firewall)
      assert.deepStrictEqual(JSON.parse(pretty.stdout), JSON.parse(stdout))
      assert.include(pretty.stdout, "\n  \"name\"")
      assert.strictEqual(JSON.parse(stdout).programs[0].name, "xdp_firewall")
      assert.match((yield* command("inspect", firewall)).stdout, /^Maps \(5\)$/m)
    }))

  it.live("lists one function with those that it calls", () =>
    Effect.gen(function*() {
      const { stdout } = yield* command("inspect", firewall, "--prog", "xdp_firewall")
      assert.match(stdout, /^xdp_firewall \(xdp, 125 instructions\)/)
      assert.include(stdout, "parse_packet (.text, 147 instructions)")
      assert.notInclude(stdout, "Maps (")
      assert.notInclude((yield* command("inspect", firewall, "--prog", "report")).stdout, "parse_packet")
    }))

  it.live("plans with edits, without loading anything", () =>
    Effect.gen(function*() {
      const edited = yield* command(
        "plan",
        firewall,
        "--map",
        "events.max_entries=4000",
        "--no-autoload",
        "xdp_firewall"
      )
      assert.strictEqual(edited.status, 0)
      assert.match(edited.stdout, /map events: ringbuf, max_entries 4096\n +note: size rounded up from 4000 to 4096/)
      assert.notInclude(edited.stdout, "BPF_PROG_LOAD")
      const document = JSON.parse((yield* command("plan", firewall, "--set", "sample_every=7", "--json")).stdout)
      const rodata = document.steps.find((step: { readonly why: string }) =>
        step.why === "initial values of xdp_fire.rodata"
      )
      assert.strictEqual(Buffer.from(rodata.arguments.value.bytes, "base64").readUInt32LE(8), 7)
      assert.include((yield* command("plan", fixture("xdp_firewall.eb.o"))).stderr, "-target bpfel")
    }))
})
