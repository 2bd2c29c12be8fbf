/** `map push|pop|peek|pin|freeze` and `prog pin` on the running kernel, beside bpftool on an equal map. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { command } from "../support/InProcess.ts"
import { bpffs, describeWith, newBpftool, repository, run } from "../support/Require.ts"

const judges = ["bpftool", ...(Fs.existsSync(newBpftool) ? [newBpftool] : [])]

const words = (line: string): ReadonlyArray<string> => line.split(" ").filter((word) => word !== "")

describeWith({ kind: "live", root: true, tools: ["bpftool"] }, "queues beside bpftool", () => {
  for (const type of ["queue", "stack"]) {
    it.live(`${type}: what is put in comes out, with the same documents`, () =>
      Effect.gen(function*() {
        for (const [index, judge] of judges.entries()) {
          const [mine, theirs] = [0, 1].map((each) => Path.join(bpffs(), `${type}${index}${each}`))
          const shape = words(`type ${type} key 0 value 4 entries 2 name jobs`)
          for (const path of [mine, theirs]) {
            const made = yield* command("map", "create", path ?? "", ...shape)
            assert.strictEqual(made.status, 0, made.stderr)
          }
          const both = Effect.fnUntraced(function*(verb: string, ...rest: ReadonlyArray<string>) {
            const { stdout, status } = yield* command("--json", "map", verb, "pinned", mine ?? "", ...rest)
            const judged = run(judge, ["-j", "map", verb, "pinned", theirs ?? "", ...rest])
            assert.strictEqual(stdout, judged.stdout.trim(), `${verb} ${rest.join(" ")}`)
            assert.strictEqual(status === 0, judged.status === 0)
            return stdout
          })
          yield* both("push", "value", "1", "0", "0", "0")
          yield* both("enqueue", "value", "hex", "02", "00", "00", "ff")
          const full = yield* command("map", "push", "pinned", mine ?? "", ...words("value 3 0 0 0"))
          assert.strictEqual(full.status, 1)
          assert.match(full.stderr, /E2BIG/)
          yield* both("push", ...words("value 3 0 0 0 exist"))
          const next = type === "queue" ? ["0x02", "0x00", "0x00", "0xff"] : ["0x03", "0x00", "0x00", "0x00"]
          assert.deepStrictEqual(JSON.parse(yield* both("peek")), { key: [], value: next })
          // Neither has keys to go through: nothing listed does not mean that it is empty.
          const dumped = yield* command("map", "dump", "pinned", mine ?? "")
          assert.deepStrictEqual([dumped.status, dumped.stdout], [1, ""])
          assert.match(dumped.stderr, /keys of maps of this type cannot be listed/)
          assert.notStrictEqual(run(judge, ["-j", "map", "dump", "pinned", theirs ?? ""]).status, 0)
          // A map is no program.
          const other = yield* command("prog", "show", "pinned", mine ?? "")
          assert.strictEqual(other.status, 2)
          assert.include(other.stderr, `pinned ${mine}: what is pinned here is no program`)
          const link = yield* command("link", "show", "pinned", mine ?? "")
          assert.include(link.stderr, `pinned ${mine}: what is pinned here is no link`)
          assert.deepStrictEqual(JSON.parse(yield* both("pop")), { key: [], value: next })
          yield* both("dequeue")
          assert.strictEqual(yield* both("peek"), "null")
          assert.strictEqual(yield* both("pop"), "null")
          const text = yield* command("map", "pop", "pinned", mine ?? "")
          assert.deepStrictEqual({ status: text.status, stdout: text.stdout }, { status: 1, stdout: "empty" })
          // Frozen: user space takes nothing and puts nothing in.
          yield* both("freeze")
          for (const verb of ["freeze", "pop"]) {
            const refused = yield* command("map", verb, "pinned", mine ?? "")
            assert.strictEqual(refused.status, 1)
            // Of what is frozen already older kernels say that it is busy.
            assert.match(refused.stderr, verb === "freeze" ? /EPERM|EBUSY/ : /EPERM/)
          }
          for (const path of [mine, theirs]) Fs.rmSync(path ?? "")
        }
      }))
  }

  it.live("other maps are wrong usage, with the verb for them", () =>
    Effect.gen(function*() {
      const pin = Path.join(bpffs(), "ports")
      yield* command("map", "create", pin, ...words("type hash key 2 value 4 entries 8 name ports"))
      for (
        const [verb, rest, hint] of [["push", "value 1 0 0 0", "update"], ["pop", "", "lookup"], ["peek", "", "lookup"]]
      ) {
        const { status, stderr } = yield* command("map", verb ?? "", "pinned", pin, ...words(rest ?? ""))
        assert.strictEqual(status, 2)
        assert.match(stderr, /ports is of type hash, and this is for queue, stack/)
        assert.include(stderr, `effect-bpf map ${hint}`)
      }
      Fs.rmSync(pin)
    }))
})

describeWith({ kind: "live", root: true, tools: ["bpftool"] }, "pins", () => {
  it.live("of maps and programs stay when the command ends, and keep their object", () =>
    Effect.gen(function*() {
      const folder = bpffs()
      const object = Path.join(repository, "test/fixtures/xdp_firewall.bpf.o")
      const [prog, maps] = [Path.join(folder, "fw"), Path.join(folder, "maps")]
      const loaded = yield* command("prog", "load", object, prog, "pinmaps", maps)
      assert.strictEqual(loaded.status, 0, loaded.stderr)
      for (const [noun, from] of [["prog", prog], ["map", Path.join(maps, "stats")]] as const) {
        const to = Path.join(folder, `${noun}_again`)
        assert.deepStrictEqual(yield* command("--json", noun, "pin", "pinned", from, to), {
          status: 0,
          stdout: "null",
          stderr: ""
        })
        const idOf = (path: string) =>
          Number(JSON.parse(run("bpftool", ["-j", noun, "show", "pinned", path]).stdout).id)
        assert.strictEqual(idOf(to), idOf(from))
        const again = yield* command(noun, "pin", "pinned", from, to)
        assert.strictEqual(again.status, 1)
        assert.match(again.stderr, /EEXIST/)
        const nowhere = yield* command(noun, "pin", "pinned", from)
        assert.strictEqual(nowhere.status, 2)
        assert.match(nowhere.stderr, new RegExp(`${noun} pin: the path of the pin is expected`))
        Fs.rmSync(to)
      }
      Fs.rmSync(prog)
      Fs.rmSync(maps, { recursive: true })
    }))
})
