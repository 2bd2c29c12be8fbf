/** `prog attach` and `prog detach`: programs without links that really see what goes by; `prog tracelog`. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Netns from "../../src/attach/Netns.ts"
import * as Sockmap from "../../src/attach/Sockmap.ts"
import * as Tc from "../../src/attach/Tc.ts"
import { AttachType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Command from "../support/Command.ts"
import { connection, descriptorOf } from "../support/Connection.ts"
import { command } from "../support/InProcess.ts"
import { loadFixture } from "../support/LoadFixture.ts"
import { hits, idOf, live, load, type Name } from "../support/NetworkFixture.ts"
import { network } from "../support/Network.ts"
import { describeWith, run } from "../support/Require.ts"
import { programNamed, runContext, runNamed } from "../support/RingProducer.ts"

const done = { status: 0, stdout: "null", stderr: "" }

describeWith({ kind: "live", root: true, tools: ["bpftool"] }, "prog attach to maps of sockets", () => {
  const cases: ReadonlyArray<readonly [Name, string, number]> = [
    ["message", "sk_msg_verdict", AttachType.BPF_SK_MSG_VERDICT],
    ["message", "msg_verdict", AttachType.BPF_SK_MSG_VERDICT],
    ["verdict", "sk_skb_stream_verdict", AttachType.BPF_SK_SKB_STREAM_VERDICT]
  ]
  for (const [name, way, attachType] of cases) {
    it.live(`${way}: sees what goes through, and stays until it is detached`, () =>
      live(Effect.gen(function*() {
        const loaded = yield* load(name === "verdict" ? ["verdict", "parser"] : [name])
        const { session } = loaded
        const sockets = loaded.map("sockets") ?? assert.fail("no map")
        const { id: map } = yield* session.call({ _tag: "MapGetInfo", map: sockets })
        const prog = yield* idOf(loaded, name)
        const words = ["id", String(prog), way, "id", String(map)]
        const attached = Effect.map(
          Sockmap.query(session, sockets, attachType),
          ({ programs }) => programs.map(({ id }) => id)
        )
        assert.deepStrictEqual(yield* command("prog", "attach", ...words, "--json"), done)
        assert.deepStrictEqual(yield* attached, [prog])
        if (name === "verdict") {
          const parser = ["id", String(yield* idOf(loaded, "parser")), "sk_skb_stream_parser", "id", String(map)]
          assert.deepStrictEqual(yield* command("prog", "attach", ...parser, "--json"), done)
        }
        yield* Effect.scoped(Effect.gen(function*() {
          const { far, near } = yield* connection
          const socket = descriptorOf(name === "message" ? near : far)
          const bytes = new Uint8Array(BigUint64Array.of(socket).buffer)
          yield* session.call({
            _tag: "MapUpdate",
            map: sockets,
            key: new Uint8Array(4),
            value: { bytes, refs: [] },
            flags: 0n
          })
          yield* Effect.callback<void>((resume) => {
            far.once("data", () => resume(Effect.void))
            near.write("through")
          })
          assert.isAtLeast(yield* hits(loaded, name), 1)
          if (name === "verdict") assert.isAtLeast(yield* hits(loaded, "parser"), 1)
          yield* session.call({ _tag: "MapDelete", map: sockets, key: new Uint8Array(4) })
        }))
        // What we have attached bpftool detaches, and the other way round.
        assert.strictEqual(run("bpftool", ["prog", "detach", ...words]).status, 0)
        assert.deepStrictEqual(yield* attached, [])
        assert.strictEqual(run("bpftool", ["prog", "attach", ...words]).status, 0)
        assert.deepStrictEqual(yield* attached, [prog])
        assert.deepStrictEqual(yield* command("prog", "detach", ...words, "--json"), done)
        assert.deepStrictEqual(yield* attached, [])
        const again = yield* command("prog", "detach", ...words)
        assert.strictEqual(again.status, 1)
        assert.match(again.stderr, /ENOENT/)
        const { id: hitsMap } = yield* session.call({ _tag: "MapGetInfo", map: loaded.map("hits") ?? sockets })
        const wrong = yield* command("prog", "attach", ...words.slice(0, 3), "id", String(hitsMap))
        assert.strictEqual(wrong.status, 2)
        assert.match(wrong.stderr, /it is of type array, and programs are attached to a sockmap or sockhash/)
      })))
  }

  it.live("says what is wrong with its words", () =>
    Effect.gen(function*() {
      for (
        const [line, expected] of [
          ["id 1", /attach type: none is given/],
          ["id 1 sk_msg", /sk_msg: programs are not attached so here\nhint: did you mean/],
          ["id 1 toString", /toString: programs are not attached so/],
          ["id 1 flow_dissector id 2", /id 2: nothing more is expected/],
          ["id 1 sk_msg_verdict", /map: none is named/]
        ] as const
      ) {
        const { status, stderr } = yield* command("prog", "attach", ...line.split(" "))
        assert.strictEqual(status, 2)
        assert.match(stderr, expected)
      }
    }))
})

describeWith({ kind: "live", root: true, tools: ["ip", "bash", "nsenter"] }, "prog attach flow_dissector", () => {
  it.live("is the network namespace's, and takes its packets apart until it is detached", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const loaded = yield* load(["dissect", "tc_rehash"])
      yield* Tc.attach(loaded, "tc_rehash", { device: box.device, netns: box.path }, "egress")
      const id = yield* idOf(loaded, "dissect")
      const inside = (verb: string) => {
        const args = [`--net=${box.path}`, process.execPath, Command.command()]
        return run("nsenter", [...args, "prog", verb, "id", String(id), "flow_dissector", "--json"], {
          env: { NODE_NO_WARNINGS: "1" }
        })
      }
      const attached = Effect.map(
        Netns.query(loaded.session, AttachType.BPF_FLOW_DISSECTOR, box.path),
        ({ programs }) => programs.map(({ id }) => id)
      )
      assert.deepStrictEqual(inside("attach"), { ...done, stdout: "null\n" })
      assert.deepStrictEqual(yield* attached, [id])
      box.send(5)
      assert.isAtLeast(yield* hits(loaded, "dissect"), 5)
      assert.deepStrictEqual(inside("detach"), { ...done, stdout: "null\n" })
      assert.deepStrictEqual(yield* attached, [])
    })))
})

const marker = "/sys/kernel/tracing/trace_marker"

describeWith({ kind: "live", root: true, files: [marker] }, "prog tracelog", () => {
  const watched = (...more: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      const text = `told ${process.pid} ${more.length}\u001b[2J`
      // Before and while it reads: the pipe keeps what nobody has read.
      Fs.writeFileSync(marker, text)
      const { status, stderr, stdout } = yield* command("prog", "tracelog", "duration", "0.1", ...more)
      assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
      return { stdout, text }
    })

  it.live("prints the lines of the trace pipe, with their control characters made visible", () =>
    Effect.gen(function*() {
      const { stdout, text } = yield* watched()
      assert.include(stdout, `tracing_mark_write: ${text.replace("\u001b", "\\x1b")}`)
      assert.notInclude(stdout, "\u001b")
    }))

  it.live("is one list with --json, as bpftool's", () =>
    Effect.gen(function*() {
      const { stdout, text } = yield* watched("--json")
      const lines: unknown = JSON.parse(stdout)
      const ours = Array.isArray(lines) ? lines.filter((each) => String(each).includes(text)) : []
      assert.lengthOf(ours, 1)
      assert.isTrue(String(ours[0]).endsWith(`${text}\n`))
    }))

  it.live("takes no other words", () =>
    Effect.gen(function*() {
      const { status, stderr } = yield* command("prog", "tracelog", "forever")
      assert.strictEqual(status, 2)
      assert.match(stderr, /forever: nothing of this name is shown/)
    }))
})

describeWith(
  { kind: "live", root: true, files: [marker], tools: ["bpftool", "timeout"] },
  "prog tracelog beside bpftool",
  () => {
    it.live("has the same element for the same line", () =>
      Effect.gen(function*() {
        const text = `compared ${process.pid}`
        /** The line of the mark without what differs each time: processor, state and time. */
        const line = (stdout: string): ReadonlyArray<string> => {
          const lines: ReadonlyArray<string> = stdout.trim() === "" ? [] : JSON.parse(stdout)
          return lines.filter((each) => each.includes(text)).map((each) =>
            each.replace(/\[\d+\] \S+ +\d+\.\d+:/, "[CPU] STATE TIME:")
          )
        }
        /** bpftool may not have begun to read when its time is over. */
        const theirs = (seconds: number): ReadonlyArray<string> => {
          Fs.writeFileSync(marker, text)
          const lines = line(run("timeout", ["-s", "INT", String(seconds), "bpftool", "-j", "prog", "tracelog"]).stdout)
          return lines.length > 0 || seconds > 10 ? lines.slice(0, 1) : theirs(seconds * 5)
        }
        const expected = theirs(0.3)
        Fs.writeFileSync(marker, text)
        const ours = yield* command("prog", "tracelog", "duration", "0.05", "--json")
        assert.lengthOf(line(ours.stdout), 1)
        assert.deepStrictEqual(line(ours.stdout), expected)
      }))
  }
)

describeWith({ kind: "live", root: true, linux: "6.18" }, "prog tracelog of one program", () => {
  it.live("takes what it has printed, each line once", () =>
    Effect.scoped(Effect.gen(function*() {
      const loaded = yield* loadFixture("prog_streams.bpf.o")
      const { id } = yield* loaded.session.call({ _tag: "ProgGetInfo", prog: programNamed(loaded, "print_lines") })
      const print = (events: number, value: number, flags: 1 | 2) =>
        runNamed(loaded, "print_lines", runContext({ events, value, flags }))
      const printed = (yield* print(2, 7, 1)).retval === 0 && (yield* print(1, 9, 2)).retval === 0
      const read = (...words: ReadonlyArray<string>) => command("prog", "tracelog", ...words, "id", String(id))
      const expected = printed ? "line 0 of 7\nline 1 of 7" : ""
      assert.deepStrictEqual(yield* read("stdout"), { status: 0, stdout: expected, stderr: "" })
      const errors = yield* read("stderr", "--json")
      assert.deepStrictEqual(JSON.parse(errors.stdout), printed ? ["line 0 of 9\n"] : [])
      assert.strictEqual((yield* read("stdout")).stdout, "")
    })))
})
