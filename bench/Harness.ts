/**
 * Measures cases of ours side by side with their peers and prints the ratios.
 *
 * Both sides of a case are measured in the same run, in turns, because times on a shared machine drift by a third from
 * minute to minute: only a ratio taken within one run says something. The figure of a side is the median over its
 * rounds of the round's median.
 */
import * as ChildProcess from "node:child_process"
import * as Os from "node:os"
import * as V8 from "node:v8"
import * as Vm from "node:vm"
import { Bench } from "tinybench"

/** Where the clock runs: around the work inside a process that goes on, or around a process from start to exit. */
export type Boundary = "in process" | "whole process"

/** A program that runs as one process. */
export interface Command {
  readonly command: string
  readonly args: ReadonlyArray<string>
}

/** A program that is measured. */
export interface Measured extends Command {
  /**
   * "in process": the program repeats the work by itself, `repetitions` times (which its arguments already tell it), and
   * prints a JSON document with `median_ns` and `n`; `heap_bytes` where it says what the result holds, `apart_ns` where part
   * of the work is not in the median but measured by itself, `peak_bytes` for the most memory that the process had. "whole
   * process": the harness starts it `repetitions` times and takes the wall time of each.
   */
  readonly boundary: Boundary
  readonly repetitions: number
}

/** The other implementation that does the same work on the same input. */
export interface Peer extends Measured {
  /** Name and version, as "libbpf 1.1.2". */
  readonly name: string
}

/** One piece of work, with the size of its input in bytes. */
export interface Case {
  readonly name: string
  readonly inputBytes: number
  /** What is timed: a function within this process, or a program to start: as a whole unless it measures itself. */
  readonly ours: (() => unknown) | Command | Measured
  readonly peer?: Peer
  /** Makes a result anew; how much memory it holds beyond its input is printed. */
  readonly held?: () => unknown
  /** What belongs together for the growth of time with size, and this case's size: objects, types, ... */
  readonly growth?: { readonly series: string; readonly size: number }
}

/** How long each side of a case is measured. */
export interface Plan {
  readonly rounds: number
  /** Shortest time and fewest iterations per round. */
  readonly milliseconds: number
  readonly iterations: number
  readonly warmUpIterations: number
}

export const defaultPlan: Plan = { rounds: 3, milliseconds: 300, iterations: 10, warmUpIterations: 20 }

/** A side's figure: the median in milliseconds and how many samples are behind it. */
export interface Measure {
  readonly milliseconds: number
  readonly samples: number
  /** Bytes that one result holds. */
  readonly heldBytes?: number
  /** Milliseconds of the part of the work that is not in `milliseconds`. */
  readonly apart?: number
  /** The most memory that the process had, in bytes. */
  readonly peakBytes?: number
}

export interface Row {
  readonly case: Case
  readonly ours: Measure
  readonly peer: Measure | undefined
}

/** The middle value, or the mean of the two middle ones; NaN for none. */
export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

const merge = (measures: ReadonlyArray<Measure>): Measure => {
  const medianOf = (field: "heldBytes" | "apart" | "peakBytes"): Partial<Measure> => {
    const values = measures.flatMap((measure) => measure[field] ?? [])
    return values.length === 0 ? {} : { [field]: median(values) }
  }
  return {
    milliseconds: median(measures.map((measure) => measure.milliseconds)),
    samples: measures.reduce((sum, measure) => sum + measure.samples, 0),
    ...medianOf("heldBytes"),
    ...medianOf("apart"),
    ...medianOf("peakBytes")
  }
}

const collector = (): () => void => {
  V8.setFlagsFromString("--expose-gc")
  const collect: unknown = Vm.runInNewContext("gc")
  if (typeof collect !== "function") throw new Error("this Node does not hand out its collector")
  return () => {
    // Memory of arrays is given back in the collection after the one that finds it unused.
    for (let pass = 0; pass < 3; pass++) collect()
  }
}

/** Bytes of the heap and of arrays that what `make` returns keeps alive; the second of two runs, when code is compiled. */
export const heldBytes = (make: () => unknown): number => {
  const collect = collector()
  const used = (): number => {
    collect()
    const { external, heapUsed } = process.memoryUsage()
    return heapUsed + external
  }
  make()
  const before = used()
  const results = [make()]
  const bytes = used() - before
  results.pop()
  return Math.max(0, bytes)
}

const measureFunction = async (work: () => unknown, plan: Plan): Promise<Measure> => {
  const bench = new Bench({
    time: plan.milliseconds,
    iterations: plan.iterations,
    warmupTime: plan.milliseconds,
    warmupIterations: plan.warmUpIterations,
    throws: true
  })
  bench.add("ours", work)
  const [task] = await bench.run()
  const result = task?.result
  if (result?.state !== "completed") throw new Error(`the measurement ended as ${result?.state}`)
  return { milliseconds: result.latency.p50, samples: result.latency.samplesCount }
}

const start = ({ args, command }: Command): string => {
  const done = ChildProcess.spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 30, timeout: 600_000 })
  if (done.error !== undefined) throw done.error
  if (done.status !== 0) throw new Error(`${command} ${args.join(" ")} exits ${done.status}: ${done.stderr.trim()}`)
  return done.stdout
}

const measureProcess = (command: Command, repetitions: number): Measure => {
  const times: Array<number> = []
  start(command)
  for (let i = 0; i < repetitions; i++) {
    const begin = performance.now()
    start(command)
    times.push(performance.now() - begin)
  }
  return { milliseconds: median(times), samples: times.length }
}

/** Reads the JSON that an in-process peer prints. */
export const readPeer = (output: string): Measure => {
  const document: unknown = JSON.parse(output)
  if (
    typeof document === "object" && document !== null && "median_ns" in document && "n" in document &&
    typeof document.median_ns === "number" && typeof document.n === "number"
  ) {
    const also = (key: string, field: keyof Measure, unit: number): Partial<Measure> => {
      const value: unknown = Object.entries(document).find(([name]) => name === key)?.[1]
      return typeof value === "number" ? { [field]: value / unit } : {}
    }
    return {
      milliseconds: document.median_ns / 1e6,
      samples: document.n,
      ...also("heap_bytes", "heldBytes", 1),
      ...also("apart_ns", "apart", 1e6),
      ...also("peak_bytes", "peakBytes", 1)
    }
  }
  throw new Error(`a peer must print median_ns and n, not ${output.slice(0, 200)}`)
}

const measureProgram = (program: Measured): Measure =>
  program.boundary === "in process" ? readPeer(start(program)) : measureProcess(program, program.repetitions)

const measureOurs = (work: Case, plan: Plan): Promise<Measure> | Measure => {
  if (typeof work.ours === "function") return measureFunction(work.ours, plan)
  if ("boundary" in work.ours) return measureProgram(work.ours)
  return measureProcess(work.ours, work.peer?.repetitions ?? plan.iterations)
}

/** Measures one case: ours and the peer in turns, `plan.rounds` times each. */
export const measure = async (work: Case, plan: Plan = defaultPlan): Promise<Row> => {
  const ours: Array<Measure> = []
  const peer: Array<Measure> = []
  for (let round = 0; round < plan.rounds; round++) {
    ours.push(await measureOurs(work, plan))
    if (work.peer !== undefined) peer.push(measureProgram(work.peer))
  }
  const held = work.held === undefined ? {} : { heldBytes: heldBytes(work.held) }
  return { case: work, ours: { ...merge(ours), ...held }, peer: peer.length === 0 ? undefined : merge(peer) }
}

const digits = (value: number): string => String(Number(value.toPrecision(3)))

/** A time with a unit that keeps three digits readable. */
export const showTime = (milliseconds: number): string => {
  if (milliseconds < 1e-3) return `${digits(milliseconds * 1e6)} ns`
  if (milliseconds < 1) return `${digits(milliseconds * 1e3)} µs`
  return milliseconds < 1000 ? `${digits(milliseconds)} ms` : `${digits(milliseconds / 1e3)} s`
}

/** A size in bytes, KiB or MiB. */
export const showSize = (bytes: number): string =>
  bytes < 1024 ? `${bytes} B` : bytes < 1 << 20 ? `${digits(bytes / 1024)} KiB` : `${digits(bytes / (1 << 20))} MiB`

const boundaryOf = ({ case: { ours } }: Row): Boundary =>
  typeof ours === "function" ? "in process" : "boundary" in ours ? ours.boundary : "whole process"

/** Memory of a side: what one result holds, or the most that its process had. */
const showMemory = (measure: Measure | undefined): string => {
  if (measure?.heldBytes !== undefined) return showSize(measure.heldBytes)
  return measure?.peakBytes === undefined ? "–" : `peak ${showSize(measure.peakBytes)}`
}

/** The time that the ratio is of, and the time that was measured apart from it. */
const showMeasure = (measure: Measure): string =>
  measure.apart === undefined
    ? showTime(measure.milliseconds)
    : `${showTime(measure.milliseconds)} (apart: ${showTime(measure.apart)})`

/** The rows as a Markdown table. A ratio is our time over the peer's: below 1 we are faster. */
export const table = (rows: ReadonlyArray<Row>, plan: Plan = defaultPlan): string => {
  const head = ["case", "input", "ours", "peer", "ratio", "n ours/peer", "boundary", "peer version", "holds ours/peer"]
  const cells = rows.map((row) => [
    row.case.name,
    showSize(row.case.inputBytes),
    showMeasure(row.ours),
    row.peer === undefined ? "–" : showMeasure(row.peer),
    row.peer === undefined ? "–" : digits(row.ours.milliseconds / row.peer.milliseconds),
    `${row.ours.samples}/${row.peer?.samples ?? "–"}`,
    boundaryOf(row),
    row.case.peer?.name ?? "–",
    row.ours.heldBytes === undefined && row.ours.peakBytes === undefined
      ? "–"
      : `${showMemory(row.ours)} / ${showMemory(row.peer)}`
  ])
  const widths = head.map((title, column) => Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)))
  const line = (row: ReadonlyArray<string>) => `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`
  const warmUp = `median of ${plan.rounds} rounds in turns; warm-up: ${plan.warmUpIterations} iterations and ` +
    `${plan.milliseconds} ms of ours a round, the peer's own (5 repetitions, or one start). "holds": memory of one ` +
    "result beyond the input's bytes; a peer that copies its input counts the copy; \"peak\": of the whole process. " +
    "\"apart\": not in the ratio"
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...cells.map(line), "", warmUp, ""].join("\n")
}

/** The machine, in one line: processor, kernel and Node. */
export const machine = (): string => {
  const cpus = Os.cpus()
  return `${cpus.length} × ${
    cpus[0]?.model.trim() ?? "unknown processor"
  }, ${Os.type()} ${Os.release()}, Node ${process.versions.node}`
}
