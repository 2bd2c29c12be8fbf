/** `map` and `prog` as a process: what is pinned by one command is found, changed and shown by the next; bpftool judges. */
import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Command from "../support/Command.ts"
import { bpffs, describeWith, repository, run, temporaryFolder } from "../support/Require.ts"

const bin = Command.command()
const firewall = Path.join(repository, "test/fixtures/xdp_firewall.bpf.o")
const environment = { FORCE_COLOR: "0", NODE_NO_WARNINGS: "1" }

const command = (...args: ReadonlyArray<string>) => Command.run(args, { env: environment })

const succeed = (...args: ReadonlyArray<string>): string => {
  const { status, stderr, stdout } = command(...args)
  assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
  return stdout
}

const bpftool = (...args: ReadonlyArray<string>): unknown => JSON.parse(run("bpftool", ["-j", ...args]).stdout)

describeWith({ kind: "live", root: true, tools: ["bpftool"] }, "effect-bpf map", () => {
  it("creates, updates, shows and deletes", () => {
    const pin = Path.join(bpffs(), "ports")
    succeed("map", "create", pin, "type", "hash", "key", "2", "value", "4", "entries", "8", "name", "ports")
    succeed("map", "update", "pinned", pin, "key", "1", "0", "value", "hex", "0a", "00", "00", "00")
    assert.deepStrictEqual(bpftool("map", "dump", "pinned", pin), [
      { key: ["0x01", "0x00"], value: ["0x0a", "0x00", "0x00", "0x00"] }
    ])
    assert.deepStrictEqual(
      JSON.parse(succeed("map", "show", "pinned", pin, "--bpffs", "--json")),
      bpftool("-f", "map", "show", "pinned", pin)
    )
    assert.match(succeed("map", "dump", "pinned", pin), /^ {2}01 00 {2}0a 00 00 00\n1 element$/m)
    const missing = command("map", "lookup", "pinned", pin, "key", "9", "9", "--json")
    assert.deepStrictEqual({ status: missing.status, stdout: missing.stdout }, { status: 1, stdout: "null\n" })
    const short = command("map", "lookup", "pinned", pin, "key", "9")
    assert.strictEqual(short.status, 2)
    assert.match(short.stderr, /^error: key: it has 2 bytes, and 1 is given$/m)
    succeed("map", "delete", "pinned", pin, "key", "1", "0")
    assert.deepStrictEqual(bpftool("map", "dump", "pinned", pin), [])
    Fs.rmSync(pin)
  })

  it("a map that is there takes the place of an object's, and programs are run where they are pinned", () => {
    const folder = bpffs()
    const [pin, maps, packet] = [Path.join(folder, "fw"), Path.join(folder, "maps"), Path.join(temporaryFolder(), "p")]
    succeed("prog", "load", firewall, pin, "pinmaps", maps)
    const again = Path.join(folder, "fw2")
    succeed("prog", "load", firewall, again, "map", "name", "stats", "pinned", Path.join(maps, "stats"))
    const idOf = (document: unknown): number => {
      const id: unknown = typeof document === "object" && document !== null ? Reflect.get(document, "id") : undefined
      return Number(id)
    }
    const stats = idOf(bpftool("map", "show", "pinned", Path.join(maps, "stats")))
    const shown: unknown = JSON.parse(succeed("prog", "show", "pinned", again, "--json"))
    const ids: unknown = typeof shown === "object" && shown !== null ? Reflect.get(shown, "map_ids") : undefined
    assert.include(ids, stats)

    Fs.writeFileSync(packet, new Uint8Array(64))
    const ran: unknown = JSON.parse(succeed("prog", "run", "pinned", pin, "data_in", packet, "repeat", "3", "--json"))
    assert.include(ran, { retval: 2, action: "XDP_PASS" })
    assert.match(succeed("prog", "dump", "xlated", "pinned", pin), /^int xdp_firewall\(struct xdp_md \* ctx\):$/m)
    const both = command("prog", "dump", "xlated", "tag", String(Reflect.get(Object(shown), "tag")))
    assert.strictEqual(both.status, 2)
    assert.match(both.stderr, /programs are called so\nhint: choose one: id \d+ \(xdp xdp_firewall/)
    for (const path of [pin, again]) Fs.rmSync(path)
    Fs.rmSync(maps, { recursive: true })
  })
})

describeWith({ kind: "live", root: true, tools: ["setpriv"] }, "effect-bpf map and prog without privileges", () => {
  it("say what is missing", () => {
    for (const noun of ["map", "prog"]) {
      const args = ["--bounding-set=-all", "--inh-caps=-all", process.execPath, bin, noun, "show"]
      const { status, stderr } = run("setpriv", args, { env: environment })
      assert.strictEqual(status, 1)
      assert.match(stderr, /EPERM/)
      assert.match(stderr, /^hint: /m)
    }
  })
})
