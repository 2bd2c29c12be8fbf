/**
 * Runs the live tests on Debian's kernels 6.1 and 6.12, in virtual machines, as root and as a user with few rights:
 *
 *   npm run test:vm -- [--kernel 6.1|6.12] [--as root|user] [--only NAME] [--seconds LIMIT]
 *
 * All but `--seconds` may be given more than once; `--only` takes the test files whose name contains NAME. Those of the command
 * run on 6.1 as root alone unless they are named. Without QEMU, busybox or the kernels it says so and ends with 0; where `vm`
 * is among `EFFECT_BPF_REQUIRE`, with 1. `FC_RUNS` scales the number of runs of properties, 0.05 if it is not set. `EFFECT_BPF_REPORT` names a file that is given the counts and the failures.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import { kernel, kernelsFolder, repository, requiredKinds, temporaryFolder, toolPath } from "../support/Require.ts"
import * as Boot from "./Boot.ts"
import * as Bundle from "./Bundle.ts"
import * as Guest from "./Guest.ts"
import * as Report from "./Report.ts"

type Series = "6.1" | "6.12"
type Identity = "root" | "user"

const { values } = parseArgs({
  options: {
    kernel: { type: "string", multiple: true, default: ["6.1", "6.12"] },
    as: { type: "string", multiple: true, default: ["root", "user"] },
    only: { type: "string", multiple: true, default: [""] },
    seconds: { type: "string", default: "2300" }
  }
})

const isSeries = (name: string): name is Series => name === "6.1" || name === "6.12"
const isIdentity = (name: string): name is Identity => name === "root" || name === "user"

const identities: Readonly<Record<Identity, string>> = {
  root: "root",
  user: "a user with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"
}

/** What is missing of the machine, each with what to do. */
const absent: ReadonlyArray<string> = [
  ...(process.arch === "x64" ? [] : [`the kernels are those of x86-64, this is ${process.arch}`]),
  ...(Boot.emulator() === undefined ? ["QEMU is absent; apt-get install qemu-system-x86"] : []),
  ...(toolPath("busybox") === undefined ? ["busybox is absent; apt-get install busybox-static"] : []),
  ...(toolPath("setpriv") === undefined ? ["setpriv is absent; apt-get install util-linux"] : []),
  ...(Fs.existsSync(kernelsFolder)
    ? []
    : ["Debian's kernels are absent; sh test/support/kernels.sh .cache/kernels fetches them"])
]

const scratch = temporaryFolder()

interface Job {
  readonly series: Series
  readonly identity: Identity
}

interface Result extends Job {
  readonly release: string
  readonly ended: Boot.Ended
  readonly report: Report.Report
  readonly console: string
}

/**
 * What starts the command again and again, seconds each time in a machine without hardware's help. What it does is what the
 * library does, which all machines test: it runs on one.
 */
const ofTheCommand: ReadonlySet<string> = new Set([
  "Applications.test.ts",
  "Cli.test.ts",
  "CliAttach.test.ts",
  "CliBudget.test.ts",
  "CliDiagnostics.test.ts",
  "CliObjects.test.ts",
  "CliTrace.test.ts",
  "Examples.test.ts",
  "OperatorBatch.test.ts",
  "OperatorJited.test.ts",
  "OperatorMaps.test.ts"
])

/** The test files that a machine leaves to another, unless they are asked for. */
const leftOut = ({ identity, series }: Job): ReadonlySet<string> =>
  values.only.includes("") && (identity !== "root" || series !== "6.1") ? ofTheCommand : new Set()

const images = new Map<Series, string>()

const image = (series: Series, base: string): string => {
  const made = images.get(series)
  if (made !== undefined) return made
  const path = Path.join(scratch, `${series}.cpio`)
  Fs.copyFileSync(base, path)
  Guest.append(path, Guest.own(kernel(series)))
  images.set(series, path)
  return path
}

const seed = process.env["FC_SEED"] ?? String(Date.now() & 0x7fffffff)

const runJob = async ({ identity, series }: Job, base: string, files: ReadonlyArray<string>): Promise<Result> => {
  const { release, vmlinux } = kernel(series)
  const name = `${series}-${identity}`
  const without = leftOut({ identity, series })
  const machine: Boot.Machine = {
    vmlinux,
    initramfs: image(series, base),
    words: [
      "console=ttyS0 rdinit=/init panic=-1 mitigations=off lsm=landlock,lockdown,capability,bpf",
      `effect_bpf.as=${identity}`,
      `effect_bpf.runs=${process.env["FC_RUNS"] ?? "0.05"}`,
      `effect_bpf.seed=${seed}`,
      `effect_bpf.limit=${values.seconds}`,
      `effect_bpf.without=${[...without].join(",")}`
    ],
    console: Path.join(scratch, `${name}.console`),
    results: Path.join(scratch, `${name}.results`),
    limitSeconds: Number(values.seconds)
  }
  const ended = await Boot.boot(machine)
  const console = Fs.existsSync(machine.console) ? Fs.readFileSync(machine.console, "utf8") : ""
  const report = Report.parse(
    Fs.readFileSync(machine.results, "utf8"),
    files.filter((file) => !without.has(file))
  )
  return { identity, series, release, ended, report, console }
}

/** The last lines of a text, indented. */
const tail = (text: string, lines: number): string =>
  text.trimEnd().split("\n").slice(-lines).map((line) => `    ${line.trimEnd()}`).join("\n")

const show = ({ console: log, ended, identity, release, report }: Result): boolean => {
  const [passed, failed, skipped] = [
    Report.count(report, "passed"),
    Report.count(report, "failed"),
    Report.count(report, "skipped")
  ]
  console.log(`\n== ${release} as ${identities[identity]}`)
  for (const outcome of report.outcomes) {
    if (outcome.state !== "failed") continue
    console.log(`  FAILED ${outcome.file}: ${outcome.test}\n${tail(outcome.error ?? "", 60)}`)
  }
  const broken = ended._tag === "Failed" ? [ended.why] : []
  for (const why of broken) console.log(`  FAILED: the machine: ${why}`)
  const wrong = failed > 0 || broken.length > 0
  if (wrong) {
    if (report.other.length > 0) console.log(`  standard error of the tests:\n${tail(report.other.join("\n"), 60)}`)
    console.log(`  the machine's console:\n${tail(log, 60)}`)
  }
  const slowest = [...report.seconds].sort(([, a], [, b]) => b - a).slice(0, 5)
  console.log(`  slowest: ${slowest.map(([file, seconds]) => `${file} ${seconds} s`).join(", ")}`)
  for (const [reason, times] of Map.groupBy(Report.skips(report), (reason) => reason)) {
    console.log(`  skipped ${times.length}: ${reason}`)
  }
  // What tests have counted, for people.
  for (const line of report.other) if (line.startsWith("count: ")) console.log(`  ${line}`)
  console.log(`  ${passed} passed, ${failed} failed, ${skipped} skipped, ${ended.seconds} s`)
  return !wrong
}

const main = async (): Promise<number> => {
  const jobs = values.kernel.filter(isSeries).flatMap((series) =>
    values.as.filter(isIdentity).map((identity): Job => ({ series, identity }))
  )
  if (jobs.length === 0) {
    console.error("usage: npm run test:vm -- [--kernel 6.1|6.12] [--as root|user] [--only NAME] [--seconds LIMIT]")
    return 2
  }
  if (absent.length > 0) {
    const required = requiredKinds(process.env["EFFECT_BPF_REQUIRE"]).has("vm")
    console.error(`${required ? "required by EFFECT_BPF_REQUIRE" : "skipped"}: vm tests: ${absent.join(", ")}`)
    return required ? 1 : 0
  }
  const files = Bundle.liveTests().filter((name) => values.only.some((part) => name.includes(part)))
  console.log(`${files.length} test files, ${jobs.length} machines, FC_SEED=${seed}`)
  const base = Path.join(scratch, "base.cpio")
  const start = performance.now()
  Guest.append(base, await Guest.common(files, scratch))
  console.log(`initramfs of ${Math.round(Fs.statSync(base).size / 1e6)} MB`)
  // Two at a time; each has one CPU. Those of root have the most to do.
  const waiting = jobs.toSorted((a, b) => a.identity.localeCompare(b.identity))
  const results: Array<Result> = []
  const worker = async (): Promise<void> => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      results.push(await runJob(job, base, files))
    }
  }
  await Promise.all([worker(), worker()])
  const order = (result: Result): number =>
    jobs.findIndex(({ identity, series }) => identity === result.identity && series === result.series)
  const good = results.sort((a, b) => order(a) - order(b)).map(show)
  const sum = (state: Report.Outcome["state"]): number =>
    results.reduce((total, { report }) => total + Report.count(report, state), 0)
  const broken = results.filter(({ ended }) => ended._tag === "Failed").length
  const counts = { passed: sum("passed"), failed: sum("failed") + broken, skipped: sum("skipped") }
  const file = process.env["EFFECT_BPF_REPORT"]
  const failures = results.flatMap(({ ended, identity, release, report }) => [
    ...(ended._tag === "Failed" ? [{ test: `${release} as ${identities[identity]}`, error: ended.why }] : []),
    ...report.outcomes.filter(({ state }) => state === "failed").map(({ error = "", file, test }) => ({
      test: `${file} on ${release} as ${identities[identity]}: ${test}`,
      error
    }))
  ])
  if (file !== undefined) Fs.writeFileSync(Path.resolve(repository, file), JSON.stringify({ ...counts, failures }))
  const seconds = Math.round((performance.now() - start) / 1000)
  console.log(
    `\nvm: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped on ${results.length} machines, ${seconds} s`
  )
  return good.every(Boolean) ? 0 : 1
}

// A machine ends with the process that booted it, and files are removed.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130))

// Natural end of the process, so that its exit handlers remove what was made.
process.exitCode = await main()
