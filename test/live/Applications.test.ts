/** The applications of examples/: started, given something to see, interrupted. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { once } from "node:events"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import { type Application, start } from "../support/Application.ts"
import { network } from "../support/Network.ts"
import { describeWith, run, temporaryFolder } from "../support/Require.ts"

/** Ctrl-C is a success, and what it watched is watched by nobody afterwards. */
const ends = async (application: Application): Promise<void> => {
  assert.strictEqual(await application.interrupt(), 0, application.stderr())
}

/** Connects to a server of this process, and closes again. */
const connect = async (host: string): Promise<number> => {
  const server = Net.createServer((socket) => socket.end()).listen(0, host)
  await once(server, "listening")
  const { port } = server.address() as Net.AddressInfo
  const socket = Net.connect(port, host).resume()
  await once(socket, "close")
  server.close()
  return port
}

describeWith({ kind: "live", root: true }, "examples/snoop", () => {
  it("sees programs start and files being opened", async () => {
    await using snoop = start("snoop/snoop.ts")
    await snoop.until(/watching/)
    const folder = temporaryFolder()
    const [there, absent] = [Path.join(folder, "there"), Path.join(folder, "absent")]
    Fs.writeFileSync(there, "")
    // A name may have anything in it, and only what can be printed is.
    const rude = Path.join(folder, "rude\u001b[2J")
    run("cat", [there, absent, rude])
    await snoop.until(/rude/)
    assert.match(snoop.stdout(), / cat +exec +uid 0 \/\S*cat$/m)
    assert.match(snoop.stdout(), new RegExp(` cat +open +\\d+ ${there}$`, "m"))
    assert.match(snoop.stdout(), new RegExp(` cat +open +-2 ${absent}$`, "m"))
    assert.match(snoop.stdout(), / cat +open +-2 \S+\/rude\?\[2J$/m)
    assert.notInclude(snoop.stdout(), ` ${snoop.pid} `)
    await ends(snoop)
  })

  it("shows failures alone", async () => {
    await using snoop = start("snoop/snoop.ts", ["--failed"])
    await snoop.until(/watching/)
    const folder = temporaryFolder()
    run("cat", [Path.join(folder), Path.join(folder, "absent")])
    await snoop.until(/absent/)
    assert.notMatch(snoop.stdout(), / open +\d/)
    await ends(snoop)
  })
})

describeWith({ kind: "live", root: true }, "examples/tcplatency", () => {
  it("times connections, and counts them by time", async () => {
    await using latency = start("tcplatency/tcplatency.ts")
    await latency.until(/watching/)
    const port = await connect("127.0.0.1")
    const [, pid, time] = await latency.until(new RegExp(`^ *(\\d+) \\S.* 127\\.0\\.0\\.1:${port} +([\\d.]+) ms$`, "m"))
    assert.strictEqual(Number(pid), process.pid)
    assert.isAbove(Number(time), 0)
    // Nobody listens there any more.
    const refused = Net.connect(port, "127.0.0.1")
    await once(refused, "error")
    await latency.until(new RegExp(`127\\.0\\.0\\.1:${port} .* not connected$`, "m"))
    await ends(latency)
    assert.match(latency.stdout(), /connections by time[^]* µs +[1-9]\d* #+/)
  })

  it("refuses what is no number", async () => {
    await using latency = start("tcplatency/tcplatency.ts", ["--at-least", "soon"])
    await latency.until(/number of microseconds, not soon/)
    assert.strictEqual(await latency.ended, 2)
  })
})

describeWith({ kind: "live", root: true }, "examples/nodegc", () => {
  it("times the pauses of a process", async () => {
    // Collects when it is told to.
    const code = "process.stdin.on('data', () => { gc(); gc({ type: 'minor' }); console.log('collected') })"
    const { spawn } = await import("node:child_process")
    const child = spawn(process.execPath, ["--expose-gc", "-e", code], { stdio: ["pipe", "pipe", "inherit"] })
    try {
      await using pauses = start("nodegc/nodegc.ts", ["--pid", String(child.pid)])
      await pauses.until(/watching/)
      child.stdin.write("now\n")
      await pauses.until(/scavenge$/m)
      const [, pid, time] = await pauses.until(/^ *(\d+) \S.* ([\d.]+) ms {2}mark-compact$/m)
      assert.strictEqual(Number(pid), child.pid)
      assert.isAbove(Number(time), 0)
      await ends(pauses)
      assert.match(pauses.stdout(), /^mark-compact: \d+ pauses, [\d.]+ ms in all, [\d.]+ ms at most$/m)
    } finally {
      child.kill()
    }
  })

  it("says what is wrong with a binary that is not Node.js", async () => {
    await using pauses = start("nodegc/nodegc.ts", ["--node", "/bin/sh"])
    await pauses.until(/\/bin\/sh/)
    assert.strictEqual(await pauses.ended, 1)
  })
})

describeWith({ kind: "live", root: true, tools: ["ip", "bash"] }, "examples/firewall", () => {
  it.live("drops by rules that change while it runs", () =>
    Effect.gen(function*() {
      const net = yield* network
      const rules = Path.join(temporaryFolder(), "rules")
      Fs.writeFileSync(rules, `# the other side\ndeny ${net.peerAddress}/24 # all of it\n`)
      yield* Effect.promise(async () => {
        await using firewall = start("firewall/firewall.ts", [net.device, rules], ["ip", "netns", "exec", net.name])
        await firewall.until(/are looked at/)
        net.receive(5)
        firewall.write("show\n")
        const [, packets] = await firewall.until(/^deny {2}\S+\/24: (\d+) packets/m)
        assert.isAtLeast(Number(packets), 5)
        const [, denied] = await firewall.until(/ (\d+) denied$/m)
        assert.isAtLeast(Number(denied), 5)

        // The longer one decides.
        firewall.write(`allow ${net.peerAddress}\nshow\n`)
        await firewall.until(/^allow \S+\/32: 0 packets/m)
        net.receive(7)
        firewall.write("nonsense\ndeny 1.2.3.4/33\ndelete 203.0.113.0/24\nshow\n")
        const [, allowed] = await firewall.until(/^allow \S+\/32: ([1-9]\d*) packets/m)
        assert.isAtLeast(Number(allowed), 7)
        await firewall.until(/not understood: deny 1\.2\.3\.4\/33/)
        await firewall.until(/there is no rule for 203\.0\.113\.0\/24/)
        firewall.write(`delete ${net.peerAddress}\notherwise deny\nallow 2001:db8::7:0/112\nshow\n`)
        await firewall.until(/^allow 2001:db8:0:0:0:0:7:0\/112: 0 packets[^]*^otherwise deny/m)
        await ends(firewall)
      })
      assert.notMatch(net.inside(`ip link show ${net.device}`), /xdp/)
    }).pipe(Effect.scoped))
})
