import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as LoaderProgram from "../../../src/stages/gen/LoaderProgram.ts"
import * as InProcess from "../../support/InProcess.ts"
import { repository, temporaryFolder } from "../../support/Require.ts"
import * as Schema from "effect/Schema"

const loader = (...args: ReadonlyArray<string>) => InProcess.command("gen", "loader", ...args)
const replay = (...args: ReadonlyArray<string>) => InProcess.command("gen", "replay", ...args)

const fixture = (name: string): string => Path.join(repository, "test/fixtures", name)
const firewall = fixture("xdp_firewall.bpf.o")

const decode = Schema.decodeUnknownSync(LoaderProgram.codec)

describe("gen loader", () => {
  it.live("writes the loader as JSON, and says what it hands out and leaves out", () =>
    Effect.gen(function*() {
      const output = Path.join(temporaryFolder(), "firewall.json")
      const { status, stderr, stdout } = yield* loader(firewall, "-o", output)
      assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
      assert.match(stdout, /hands out 5 maps and 1 program/)
      assert.match(stdout, /left out: ProgBindMap/)
      const json = JSON.parse(Fs.readFileSync(output, "utf8"))
      assert.deepStrictEqual(decode(json).maps.map(({ name }) => name).slice(0, 3), ["stats", "blocklist", "events"])
      const before = Fs.readFileSync(output)
      yield* loader(firewall, "-o", output)
      assert.deepStrictEqual(Fs.readFileSync(output), before)
    }))

  it.live("writes it to standard output where no file is named, and tells of the file as a document with --json", () =>
    Effect.gen(function*() {
      const { stdout } = yield* loader(firewall)
      assert.strictEqual(decode(JSON.parse(stdout)).programs.length, 1)
      const output = Path.join(temporaryFolder(), "firewall.json")
      const document = JSON.parse((yield* loader(firewall, "-o", output, "--json")).stdout)
      assert.deepInclude(document, { output, object: firewall, byte_order: "little", signed: false, inputs: [] })
      assert.deepInclude(document.maps[0], { name: "stats", published: true })
    }))

  it.live("takes the edits of a plan", () =>
    Effect.gen(function*() {
      const { stdout } = yield* loader(
        firewall,
        "--map",
        "events.max_entries=8192",
        "--map",
        "stats.autocreate=no",
        "--no-autoload",
        "xdp_firewall"
      )
      const { maps, programs } = decode(JSON.parse(stdout))
      // What is left out keeps its place.
      assert.deepStrictEqual(maps.map(({ published }) => published), [false, true, true, true, true])
      assert.deepStrictEqual(programs.map(({ published }) => published), [false])
      assert.strictEqual(maps[2]?.maxEntries, 8192)
    }))

  it.live("names what cannot be recorded, and writes nothing", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const output = Path.join(folder, "none.json")
      const pinned = yield* loader(fixture("pinned_map.bpf.o"), "-o", output)
      assert.strictEqual(pinned.status, 1)
      assert.match(pinned.stderr, /on shared_counters: .*pins.*\nhint: record it without the pin/)
      const unpinned = yield* loader(fixture("pinned_map.bpf.o"), "--map", "shared_counters.pinned=")
      assert.strictEqual(unpinned.status, 0)
      const arena = yield* loader(fixture("arena.bpf.o"), "-o", output)
      assert.strictEqual(arena.status, 1)
      assert.match(arena.stderr, /arena: it has variables/)
      assert.deepStrictEqual(Fs.readdirSync(folder), [])
    }))

  it.live("is not used in the wrong way", () =>
    Effect.gen(function*() {
      const usage = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
        const { status, stderr } = yield* loader(firewall, ...args)
        assert.strictEqual(status, 2)
        return stderr
      })
      assert.match(yield* usage("-o", firewall), /is the object, and would be lost/)
      assert.match(yield* usage("--sign"), /--key/)
      assert.match(yield* usage("--sign", "--key", firewall), /--cert/)
      assert.match(yield* usage("--key", firewall), /--sign only/)
      assert.match(yield* usage("--instructions-only"), /--sign is missing/)
      assert.match(yield* usage("--kernel", "no_such_profile"), /no such file/)
    }))

  it.live("leaves what was there when it fails", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const output = Path.join(folder, "loader.json")
      Fs.writeFileSync(output, "before")
      const { status } = yield* loader(firewall, "-o", output, "--sign", "--key", firewall, "--cert", firewall)
      assert.strictEqual(status, 1)
      assert.strictEqual(Fs.readFileSync(output, "utf8"), "before")
      assert.deepStrictEqual(Fs.readdirSync(folder), ["loader.json"])
    }))
})

describe("gen replay", () => {
  const recorded = Effect.fnUntraced(function*(name: string, ...args: ReadonlyArray<string>) {
    const output = Path.join(temporaryFolder(), `${name}.json`)
    assert.strictEqual((yield* loader(fixture(name), "-o", output, ...args)).status, 0)
    return output
  })

  it.live("prints the calls of a loader, what it looks up, and what it reads", () =>
    Effect.gen(function*() {
      const file = yield* recorded("ksyms.bpf.o")
      const { status, stderr, stdout } = yield* replay(file, "--disassemble")
      assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
      assert.match(stdout, /it makes 8 calls and returns 0/)
      assert.match(stdout, / 1 {2}BPF_BTF_LOAD +types: [0-9]+ B, [0-9]+ types/)
      assert.match(stdout, /BPF_PROG_LOAD +program call_kernel: syscall, 23 instructions/)
      assert.match(stdout, /schedule {2}address/)
      assert.match(stdout, /bpf_rcu_read_lock {2}function/)
      assert.match(stdout, /max_entries of ksyms[.]data/)
      assert.match(stdout, /call kernel-function.*; bpf_rcu_read_lock|; bpf_rcu_read_lock/)
    }))

  it.live("compares with a plan: no difference, or each one, and the exit status says which", () =>
    Effect.gen(function*() {
      const file = yield* recorded("xdp_firewall.bpf.o")
      const none = yield* replay(file, "--diff", firewall)
      assert.deepStrictEqual([none.status, none.stderr], [0, ""])
      assert.match(none.stdout, /10 calls, no difference/)
      const other = yield* replay(file, "--diff", firewall, "--map", "events.max_entries=8192")
      assert.strictEqual(other.status, 1)
      assert.match(other.stdout, /1 difference/)
      assert.match(other.stdout, /~ BPF_MAP_CREATE map events/)
      assert.match(other.stdout, /attr[.]maxEntries: 8192 in the plan, 65536 by the loader/)
      const document = JSON.parse((yield* replay(file, "--diff", fixture("test_run.bpf.o"), "--json")).stdout)
      assert.isAbove(document.diff.differences.length, 3)
      assert.deepInclude(document, { retval: 0, byte_order: "little", leaked: [], stray_closes: 0 })
    }))

  it.live("compares loaders of either byte order, and such as print", () =>
    Effect.gen(function*() {
      const big = yield* recorded("core_reads.eb.o")
      assert.strictEqual((yield* replay(big, "--diff", fixture("core_reads.eb.o"))).status, 0)
      const traced = yield* recorded("core_reads.bpf.o", "--trace")
      const { status, stdout } = yield* replay(traced, "--diff", fixture("core_reads.bpf.o"))
      assert.deepStrictEqual([status, /no difference/.test(stdout)], [0, true])
      assert.match((yield* replay(traced)).stdout, /\nPrinted\n/)
    }))

  const vmlinux = "/sys/kernel/btf/vmlinux"

  it.live.skipIf(!Fs.existsSync(vmlinux))(
    "compares loaders that were made for one kernel with plans for it",
    () =>
      Effect.gen(function*() {
        for (const name of ["core_reads.bpf.o", "struct_ops.bpf.o"]) {
          const file = yield* recorded(name, "--kernel", vmlinux)
          assert.deepStrictEqual(decode(JSON.parse(Fs.readFileSync(file, "utf8"))).inputs, [])
          const same = yield* replay(file, "--diff", fixture(name), "--for", vmlinux)
          assert.deepStrictEqual([same.status, same.stderr], [0, ""], same.stdout)
          // A plan for no kernel in particular leaves to the kernel what this loader has decided.
          assert.strictEqual((yield* replay(file, "--diff", fixture(name))).status, 1)
        }
      })
  )

  it.live("makes the calls on the simulated kernel where it is told to", () =>
    Effect.gen(function*() {
      const file = yield* recorded("xdp_firewall.bpf.o")
      const { status, stdout } = yield* replay(file, "--kernel", "simulated", "--json")
      assert.strictEqual(status, 0)
      const document = JSON.parse(stdout)
      assert.deepInclude(document, { kernel: "simulated", retval: 0 })
      assert.deepInclude(document.programs[0], { name: "xdp_firewall", published: true })
      const without = yield* replay(yield* recorded("ksyms.bpf.o"), "--kernel", "simulated")
      assert.strictEqual(without.status, 1)
      assert.match(without.stderr, /the loader ended with ENOENT/)
    }))

  it.live("takes the two pieces of a loader as they are", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const { data, insns } = decode(JSON.parse(Fs.readFileSync(yield* recorded("test_run.bpf.o"), "utf8")))
      const [insnsFile, dataFile] = [Path.join(folder, "insns"), Path.join(folder, "data")]
      Fs.writeFileSync(insnsFile, insns)
      Fs.writeFileSync(dataFile, data)
      const { status, stdout } = yield* replay("--insns", insnsFile, "--data", dataFile)
      assert.strictEqual(status, 0)
      assert.match(stdout, /BPF_PROG_LOAD/)
      assert.notMatch(stdout, /Faults of the loader/)
    }))

  it.live("refuses what is no loader, and what is no use", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const written = (name: string, text: string): string => {
        Fs.writeFileSync(Path.join(folder, name), text)
        return Path.join(folder, name)
      }
      const refused = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
        const { status, stderr } = yield* replay(...args)
        return `${status} ${stderr}`
      })
      assert.match(yield* refused(written("a.json", "{")), /^1 [^]*not JSON/)
      assert.match(yield* refused(written("b.json", "{}")), /^1 [^]*no loader of gen loader/)
      assert.match(yield* refused(written("c.h", "int x;")), /^1 [^]*no data of a loader/)
      assert.match(yield* refused(Path.join(folder, "none")), /^1 /)
      assert.match(yield* refused(), /^2 [^]*needs a loader/)
      assert.match(yield* refused("--insns", firewall), /^2 [^]*needs a loader/)
      assert.match(yield* refused(firewall, "--insns", firewall), /^2 [^]*one already/)
      assert.match(yield* refused(firewall, "--for", firewall), /^2 [^]*with --diff only/)
      assert.match(yield* refused(firewall, "--set", "sample_every=1"), /^2 [^]*--set: is of use with --diff only/)
      const file = yield* recorded("test_run.bpf.o")
      const json = JSON.parse(Fs.readFileSync(file, "utf8"))
      const spoilt = written("d.json", JSON.stringify({ ...json, insns: "lQAAAAAAAAA=" }))
      assert.match(yield* refused(spoilt, "--diff", fixture("test_run.bpf.o")), /^1 /)
    }))
})
