/** What refusals say of missing rights, beside what the running kernel lets processes of fewer rights do. */
import { assert } from "@effect/vitest"
import * as Path from "node:path"
import { repository, run } from "./Require.ts"

/** What became of a program or map of a type, or of a helper, in a process of some rights. */
export interface Said {
  readonly what: string
  readonly errno: string
  readonly reason: string
  readonly capabilities: ReadonlyArray<string>
}

const child = Path.join(repository, "test/support/rightsChild.ts")

/** Runs the child by this tool. */
const saidBy = (tool: string, ...args: ReadonlyArray<string>): ReadonlyMap<string, Said> => {
  const done = run(tool, [...args, child])
  assert.strictEqual(done.status, 0, done.stderr)
  const said: ReadonlyArray<readonly [string, number, string, string, ReadonlyArray<string>]> = JSON.parse(done.stdout)
  return new Map(said.map(([kind, type, errno, reason, capabilities]) => {
    const what = `${kind} ${type}`
    return [what, { what, errno, reason, capabilities }]
  }))
}

/** As a user of these capabilities alone: `bpf,perfmon`. */
export const withCapabilities = (...capabilities: ReadonlyArray<string>): ReadonlyMap<string, Said> => {
  const set = ["-all", ...capabilities.map((each) => `+${each}`)].join(",")
  return saidBy(
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    `--inh-caps=${set}`,
    `--ambient-caps=${set}`,
    `--bounding-set=${set}`,
    process.execPath
  )
}

/** As root of a user namespace of its own. */
export const inNamespace = (): ReadonlyMap<string, Said> =>
  saidBy("unshare", "--user", "--map-root-user", process.execPath)

/** As this process. */
export const asHere = (): ReadonlyMap<string, Said> => saidBy(process.execPath)

const ofRights: ReadonlySet<string> = new Set(["MissingCapability", "UnprivilegedDisabled"])

/**
 * What a process of some capabilities is refused, and root is not, is for want of capabilities, which it has not. What is named
 * is what is missing: who has that is not refused for it. `all` has the answers by sets of capabilities.
 */
export const assertRights = (
  all: ReadonlyMap<string, ReadonlyMap<string, Said>>,
  root: ReadonlyMap<string, Said>
): void => {
  let count = 0
  for (const [set, answers] of all) {
    const held = set.split(",").filter((each) => each !== "").map((each) => `CAP_${each.toUpperCase()}`)
    for (const { capabilities, errno, reason, what } of answers.values()) {
      const where = `${what} with ${set}: ${errno} ${reason} ${capabilities.join(" ")}`
      const isRefused = errno === "EPERM" && root.get(what)?.errno !== "EPERM"
      if (isRefused) assert.isTrue(ofRights.has(reason), where)
      if (!ofRights.has(reason)) continue
      count++
      assert.isNotEmpty(capabilities, where)
      for (const capability of capabilities) assert.notInclude(held, capability, where)
      // A helper asks for more than what its program's type asks for.
      if (what.startsWith("helper")) continue
      const enough = new Set([...held, ...capabilities])
      for (const [other, others] of all) {
        const theirs = new Set(other.split(",").map((each) => `CAP_${each.toUpperCase()}`))
        if ([...enough].some((each) => !theirs.has(each))) continue
        const there = others.get(what)
        assert.isFalse(ofRights.has(there?.reason ?? ""), `${where}, and with ${other}: ${there?.reason}`)
      }
    }
  }
  assert.isAbove(count, 20)
}
