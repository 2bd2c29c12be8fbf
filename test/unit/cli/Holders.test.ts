/** Who holds objects, as procfs tells: while processes end and descriptors are closed. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import { pidsJson } from "../../../src/cli/json/HoldersDocument.ts"
import * as Holders from "../../../src/cli/objects/Holders.ts"
import { holdersText } from "../../../src/cli/text/HoldersText.ts"
import { plain, render, table } from "../../../src/cli/text/Text.ts"

/** A procfs of processes: their names, and what their descriptors are with the text of each's file. */
type Processes = Readonly<
  Record<
    number,
    { readonly comm: string; readonly fds: Readonly<Record<number, readonly [target: string, info: string]>> }
  >
>

/** A procfs in which everything that `isGone` names has gone. */
const procOf = (processes: Processes, isGone: (path: string) => boolean = () => false): Holders.Proc => {
  const known = <A>(path: string, value: () => A | undefined): A | undefined => isGone(path) ? undefined : value()
  const at = (path: string) => {
    const [, , pid = "", , fd = ""] = path.split("/")
    const process = processes[Number(pid)]
    return { process, fd: process?.fds[Number(fd)] }
  }
  return {
    names: (path) =>
      known(path, () =>
        path === "/proc"
          ? [...Object.keys(processes), "self", "sys", "12x"]
          : Object.keys(at(path).process?.fds ?? {})),
    target: (path) => known(path, () => at(path).fd?.[0]),
    text: (path) => known(path, () => path.endsWith("/comm") ? `${at(path).process?.comm ?? ""}\n` : at(path).fd?.[1])
  }
}

const map = (id: number) => ["anon_inode:bpf-map", `pos:\t0\nmap_type:\t1\nmap_id:\t${id}\nfrozen:\t0\n`] as const
const prog = (id: number) => ["anon_inode:bpf-prog", `prog_type:\t1\nprog_id:\t${id}\n`] as const
const link = (id: number) => ["anon_inode:bpf_link", `link_type:\txdp\nlink_id:\t${id}\nprog_id:\t5\n`] as const

const processes: Processes = {
  20: { comm: "later", fds: { 3: map(7) } },
  3: { comm: "first", fds: { 10: map(7), 9: map(7), 4: prog(5), 5: link(8), 0: ["/dev/null", ""] } }
}

describe("holders", () => {
  it("are found by kind, each once, in the order of processes", () => {
    const proc = procOf(processes)
    const [first, later] = [{ pid: 3, comm: "first" }, { pid: 20, comm: "later" }]
    assert.deepStrictEqual([...Holders.find("Map", proc)], [[7, [first, later]]])
    // The file of a link's descriptor names its program, too.
    assert.deepStrictEqual([...Holders.find("Prog", proc)], [[5, [first]]])
    assert.deepStrictEqual([...Holders.find("Link", proc)], [[8, [first]]])
    assert.deepStrictEqual([...Holders.find("Btf", proc)], [])
  })

  it("what vanishes at any moment is left out, and the rest is there", () => {
    const paths = new Set<string>()
    const watched = procOf(processes, (path) => {
      paths.add(path)
      return false
    })
    Holders.find("Map", watched)
    assert.isAbove(paths.size, 10)
    for (const gone of paths) {
      const found = Holders.find("Map", procOf(processes, (path) => path === gone)).get(7) ?? []
      const left = gone === "/proc"
        ? []
        : [3, 20].filter((pid) => !gone.startsWith(`/proc/${pid}/`) || (pid === 3 && /\/(4|5|0|9|10)$/.test(gone)))
      assert.deepStrictEqual(found.map(({ pid }) => pid), left, gone)
    }
  })

  it("files that say something else are no holders", () => {
    fc.assert(fc.property(fc.string(), (text) => {
      const found = Holders.find("Map", procOf({ 1: { comm: "x", fds: { 0: ["anon_inode:bpf-map", text] } } }))
      assert.strictEqual(found.size > 0, /^map_id:\s*[0-9]+$/m.test(text))
    }))
  })

  it("are named in a cell in which nothing moves the cursor, and not all where they are many", () => {
    const evil = { pid: 1, comm: "a\u001b[2Jb\nc" }
    const cell = render(table(["held by"], [[holdersText([evil])]]), plain)
    assert.include(cell, "a\\x1b[2Jb\\x0ac(1)")
    assert.strictEqual(holdersText(Array.from({ length: 9 }, () => evil)).split("(1)").length, 5)
    assert.match(holdersText(Array.from({ length: 9 }, () => evil)), /, 9 in all$/)
    assert.deepStrictEqual(pidsJson([evil]), { pids: [evil] })
    assert.deepStrictEqual(pidsJson([]), {})
  })

  it("this machine's procfs is read, whatever goes meanwhile", () => {
    assert.isUndefined(Holders.machine.target("/proc/self/fd/1000000"))
    assert.isUndefined(Holders.machine.names("/no/such"))
    assert.isUndefined(Holders.machine.text("/no/such"))
    if (Fs.existsSync("/proc/self/comm")) assert.isString(Holders.commOf(process.pid))
  })
})
