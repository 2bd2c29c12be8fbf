import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as InProcess from "../../support/InProcess.ts"
import { repository, temporaryFolder } from "../../support/Require.ts"

const skeleton = (...args: ReadonlyArray<string>) => InProcess.command("gen", "skeleton", ...args)

const fixture = (name: string): string => Path.join(repository, "test/fixtures", name)
const firewall = fixture("xdp_firewall.bpf.o")

describe("gen skeleton", () => {
  it.live("makes a C header under the file's name, or the one that is given", () =>
    Effect.gen(function*() {
      const { status, stdout } = yield* skeleton("-L", firewall)
      assert.strictEqual(status, 0)
      assert.match(stdout, /#ifndef __XDP_FIREWALL_BPF_SKEL_H__/)
      assert.match(stdout, /xdp_firewall_bpf__open_and_load\(void\)/)
      assert.notMatch(stdout, /struct firewall_totals \{/)
      const named = yield* skeleton("-L", firewall, "name", "fw", "--types")
      assert.match(named.stdout, /\nstruct fw \{/)
      assert.match(named.stdout, /struct firewall_totals \{/)
    }))

  it.live("makes a TypeScript module", () =>
    Effect.gen(function*() {
      const output = Path.join(temporaryFolder(), "firewall.ts")
      const { status, stdout } = yield* skeleton("-L", firewall, "--lang", "ts", "-o", output)
      assert.strictEqual(status, 0)
      assert.match(stdout, /a module that loads .*, 5 maps and 1 program/)
      assert.match(Fs.readFileSync(output, "utf8"), /export const load = \(/)
      const document = JSON.parse((yield* skeleton("-L", firewall, "--lang", "ts", "--json")).stdout)
      assert.deepInclude(document, { name: "xdp_firewall_bpf", language: "ts", programs: ["xdp_firewall"] })
      assert.strictEqual(document.text, Fs.readFileSync(output, "utf8"))
    }))

  it.live("makes a TypeScript module with the object in it, or beside it", () =>
    Effect.gen(function*() {
      const folder = Fs.mkdtempSync(Path.join(temporaryFolder(), "full-"))
      const output = Path.join(folder, "firewall.skel.ts")
      const { status, stdout } = yield* skeleton(firewall, "--lang", "ts", "--name", "fw", "-o", output)
      assert.strictEqual(status, 0)
      assert.match(stdout, /a module that loads .*, 5 maps and 1 program under the name fw/)
      const text = Fs.readFileSync(output, "utf8")
      assert.match(text, /readonly xdp_firewall: Skeleton.Attachable<Skeleton.XdpTarget>/)
      assert.include(text, Fs.readFileSync(firewall).toString("base64").slice(0, 100))
      const object = Path.join(folder, "objects", "fire wall.bpf.o")
      Fs.mkdirSync(Path.dirname(object))
      Fs.copyFileSync(firewall, object)
      const document = JSON.parse(
        (yield* skeleton(object, "name", "fw", "--lang", "ts", "--beside", "-o", output, "--json")).stdout
      )
      assert.deepInclude(document, { name: "fw", language: "ts", programs: ["xdp_firewall"], output })
      assert.include(Fs.readFileSync(output, "utf8"), `Skeleton.beside("objects/fire wall.bpf.o", import.meta)`)
      // The same bytes as before the change is what a reader of the old file would see: nothing is written on failure.
      const refused = yield* skeleton(fixture("README.md"), "--lang", "ts", "-o", output)
      assert.deepStrictEqual([refused.status, refused.stdout], [1, ""])
      assert.include(Fs.readFileSync(output, "utf8"), "Skeleton.beside")
    }))

  it.live("makes a C header with the object in it, byte for byte", () =>
    Effect.gen(function*() {
      const { status, stdout } = yield* skeleton(firewall, "name", "fw")
      assert.strictEqual(status, 0)
      assert.match(stdout, /#ifndef __FW_SKEL_H__/)
      assert.match(stdout, /\nfw__open_opts\(const struct bpf_object_open_opts \*opts\)/)
      const lines = (/= "\\\n([^"]*)"/.exec(stdout)?.[1] ?? "").replaceAll("\\\n", "")
      const bytes = [...lines.matchAll(/\\(?:0|x(..))/g)].map(([, hex = "0"]) => parseInt(hex, 16))
      assert.deepStrictEqual(Buffer.from(bytes), Fs.readFileSync(firewall))
      const document = JSON.parse((yield* skeleton(firewall, "--json")).stdout)
      assert.deepInclude(document, { name: "xdp_firewall_bpf", language: "c", programs: ["xdp_firewall"] })
    }))

  it.live("names of files become identifiers, and bad names are refused", () =>
    Effect.gen(function*() {
      const odd = Path.join(temporaryFolder(), "3 odd-name.v2.bpf.o")
      Fs.copyFileSync(firewall, odd)
      assert.match((yield* skeleton("-L", odd)).stdout, /struct _3_odd_name_v2_bpf \{/)
      for (const name of ["a b", "9", "x".repeat(64), "", "int", "class"]) {
        for (const kind of [["-L"], []]) {
          const { status, stderr, stdout } = yield* skeleton(...kind, firewall, "name", name)
          assert.deepStrictEqual([status, stdout], [1, ""], name)
          assert.match(stderr, /name/)
        }
      }
    }))

  it.live("wrong usage ends with 2, before anything is read or written", () =>
    Effect.gen(function*() {
      const copy = Path.join(temporaryFolder(), "firewall.bpf.o")
      Fs.copyFileSync(firewall, copy)
      const rows: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
        [[firewall, "--types"], /--types: is for light skeletons/],
        [[firewall, "--set", "sample_every=1"], /--set: is for light skeletons/],
        [[firewall, "--lang", "ts", "--set", "sample_every=1"], /--set: is for light skeletons/],
        [[firewall, "--lang", "ts", "--kernel", "x"], /--kernel: is for light skeletons/],
        [["-L", firewall, "--lang", "ts", "--beside"], /not light/],
        [[firewall, "name", "a", "--lang", "ts", "--name", "b"], /given twice/],
        [["-L", firewall, "name"], /needs a name/],
        [["-L", firewall, "name", "a", "name", "b"], /given twice/],
        [["-L", firewall, "nom", "a"], /not expected/],
        [["-L", firewall, "--lang", "ts", "--types"], /skeletons in C/],
        [["-L", copy, "-o", copy], /would be lost/]
      ]
      for (const [args, pattern] of rows) {
        const { status, stderr, stdout } = yield* skeleton(...args)
        assert.deepStrictEqual([status, stdout], [2, ""], args.join(" "))
        assert.match(stderr, pattern)
      }
      assert.deepStrictEqual(Fs.readFileSync(copy), Fs.readFileSync(firewall))
    }))

  it.live("an object that cannot be recorded is refused by name, and nothing is written", () =>
    Effect.gen(function*() {
      const output = Path.join(temporaryFolder(), "arena.h")
      const { status, stderr } = yield* skeleton("-L", fixture("arena.bpf.o"), "-o", output)
      assert.strictEqual(status, 1)
      assert.match(stderr, /arena/)
      assert.isFalse(Fs.existsSync(output))
    }))
})

describe("gen subskeleton", () => {
  const subskeleton = (...args: ReadonlyArray<string>) => InProcess.command("gen", "subskeleton", ...args)

  it.live("makes a C header", () =>
    Effect.gen(function*() {
      const { status, stdout } = yield* subskeleton(fixture("link_library.bpf.o"), "name", "library")
      assert.strictEqual(status, 0)
      assert.match(stdout, /#ifndef __LIBRARY_SUBSKEL_H__/)
      assert.match(stdout, /__u64 \*library_calls;/)
      const output = Path.join(temporaryFolder(), "library.subskel.h")
      const written = yield* subskeleton(fixture("link_library.bpf.o"), "-o", output)
      assert.match(
        written.stdout,
        /a header that finds what is in .*, 4 maps and 1 program under the name link_library_bpf/
      )
      assert.match(Fs.readFileSync(output, "utf8"), /link_library_bpf__open\(const struct bpf_object \*src\)/)
      const document = yield* subskeleton(fixture("link_library.bpf.o"), "--json")
      assert.deepInclude(JSON.parse(document.stdout), { name: "link_library_bpf", language: "c" })
    }))

  it.live("makes a TypeScript module", () =>
    Effect.gen(function*() {
      const { status, stdout } = yield* subskeleton(fixture("link_library.bpf.o"), "--lang", "ts", "--name", "library")
      assert.strictEqual(status, 0)
      assert.match(stdout, /export const attachTo: typeof subskeleton.attachTo = subskeleton.attachTo/)
      assert.notMatch(stdout, /Skeleton.embedded/)
    }))

  it.live("wrong usage and objects that are none end without output", () =>
    Effect.gen(function*() {
      const refused = yield* subskeleton(fixture("README.md"))
      assert.deepStrictEqual([refused.status, refused.stdout], [1, ""])
      const light = yield* subskeleton("-L", firewall)
      assert.deepStrictEqual([light.status, light.stdout], [2, ""])
      assert.match(light.stderr, /a subskeleton loads nothing/)
    }))
})
