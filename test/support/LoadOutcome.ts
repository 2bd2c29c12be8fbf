/**
 * What becomes of a load, in the words that a load of ours and one of libbpf 1.5 have in common: how far it came, the
 * error's number, what the error is about, and how much the kernel had taken by then.
 */
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Libbpf from "./Libbpf.ts"
import type { OurLoad } from "./LoadOurs.ts"
import { bpffs, run, temporaryFolder } from "./Require.ts"

/** `prepare` is all between opening and the first program; `loaded` is no failure. */
export type Stage = "open" | "prepare" | "load" | "loaded"

/** What became of a load. */
export interface Outcome {
  readonly stage: Stage
  /** The name of the error's number; null for none. */
  readonly errno: string | null
  /** The program, map or extern that the error names; null where it names none. */
  readonly subject: string | null
  /** How many programs the kernel took before the load ended. */
  readonly programs: number
  /** How many maps it made; templates of inner maps count. */
  readonly maps: number
}

const Answer = Schema.Struct({
  stage: Schema.Literals(["open", "prepare", "load", "loaded"]),
  errno: Schema.Number,
  name: Schema.NullOr(Schema.String),
  kind: Schema.NullOr(Schema.String),
  subject: Schema.NullOr(Schema.String),
  programs: Schema.Number,
  maps: Schema.Number,
  log: Schema.String
})

const decode = Schema.decodeUnknownSync(Schema.fromJsonString(Answer))

/** An outcome with libbpf, and its warnings. */
export interface PeerOutcome extends Outcome {
  readonly log: string
}

/** An object to load: its path, and the name of the only program to load. */
export interface Subject {
  readonly path: string
  readonly only?: string
}

/** A load on which libbpf crashed, or that took too long. */
const crashed = (signal: number): PeerOutcome => ({
  stage: "load",
  errno: `signal ${signal}`,
  subject: null,
  programs: 0,
  maps: 0,
  log: ""
})

/**
 * Loads objects with libbpf 1.5, one after another; each may take `seconds`. Pins go to a folder of their own. Objects that
 * are left after a crash are loaded by another process.
 */
export const libbpfs = (subjects: ReadonlyArray<Subject>, seconds = 120): ReadonlyArray<PeerOutcome> => {
  const peer = Libbpf.program("load_peer", "1.5")
  const pinRoot = Path.join(bpffs(), "libbpf")
  const lines = subjects.map(({ only, path }) => only === undefined ? path : `${path}\t${only}`)
  const outcomes: Array<PeerOutcome> = []
  while (outcomes.length < lines.length) {
    const done = run(peer, [pinRoot, String(seconds)], {
      input: lines.slice(outcomes.length).map((line) => `${line}\n`).join(""),
      timeoutMilliseconds: 1_500_000
    })
    Fs.rmSync(pinRoot, { recursive: true, force: true })
    const whole = done.stdout.split("\n")
    // What follows the last end of a line is nothing, or a part of an answer that a crash cut off.
    whole.pop()
    for (const line of whole) {
      const { log, maps, name, programs, stage, subject } = decode(line)
      outcomes.push({ stage, errno: name, subject, programs, maps, log })
    }
    if (outcomes.length === lines.length) break
    if (done.status <= 128) throw new Error(`load_peer: status ${done.status}: ${done.stderr}`)
    outcomes.push(crashed(done.status - 128))
  }
  return outcomes
}

/** libbpf's number for what we find wrong before the kernel is asked. */
const errnoOf = ({ message, reason, tag }: NonNullable<OurLoad["error"]>): string => {
  switch (`${tag} ${reason}`) {
    case "OpenError Extern":
      // Not in a section that libbpf knows externs of, or in none.
      return message.includes("belongs to no section") ? "ENOENT" : "EOPNOTSUPP"
    case "OpenError LegacyMaps":
      return "EOPNOTSUPP"
    case "OpenError MapDefinition":
    case "PlanError AttachTarget":
    case "PlanError ProgramType":
    case "PlanError Types":
      return "EINVAL"
    case "PlanError Unsupported":
      return "ENOTSUPP"
    case "RelocateError Ksym":
      return message.includes("no symbol of this name") ? "ESRCH" : "EINVAL"
    default:
      return tag === "KernelError" || tag === "VerifierError" ? reason : `${tag} ${reason}`
  }
}

/** Which of libbpf's stages it is in which a failure of ours would be one of its own. */
const stageOf = ({ error, sent, stage }: OurLoad): Stage => {
  switch (stage) {
    case "relocate":
      return "prepare"
    case "plan":
      // libbpf comes to these when it comes to the program.
      return error?.reason === "AttachTarget" || error?.reason === "ProgramType" ? "load" : "prepare"
    case "execute": {
      const programsBegun = sent.some((call) => call.command === "PROG_LOAD" && !call.probe)
      return error?.call === "ProgLoad" || programsBegun ? "load" : "prepare"
    }
    default:
      return stage
  }
}

/** The outcome of a load of ours. */
export const ofOurs = (load: OurLoad): Outcome => {
  const made = (command: string): number =>
    load.sent.filter((call) => call.command === command && !call.probe && call.result >= 0).length
  return {
    stage: stageOf(load),
    errno: load.error === undefined ? null : errnoOf(load.error),
    subject: load.error?.subject ?? null,
    programs: made("PROG_LOAD"),
    maps: made("MAP_CREATE")
  }
}

/**
 * Whether two loads came to the same: stage, error, what it is about where libbpf says that, and what the kernel took. What
 * we find before the kernel is asked for anything leaves no maps behind.
 */
export const agree = (ours: Outcome, libbpf: Outcome): boolean =>
  ours.stage === libbpf.stage && ours.errno === libbpf.errno &&
  (libbpf.subject === null || ours.subject === libbpf.subject) &&
  ours.programs === libbpf.programs && (ours.maps === libbpf.maps || (libbpf.errno !== null && ours.maps === 0))

/** An outcome as a line of text. */
export const show = ({ errno, maps, programs, stage, subject }: Outcome): string =>
  stage === "loaded"
    ? `loaded ${programs} programs and ${maps} maps`
    : `${stage} fails with ${errno} at ${subject} after ${programs} programs and ${maps} maps`

/** Compiles C of a test; the path of the object, which lives as long as the test file. */
export const compile = (name: string, source: string): string => {
  const folder = temporaryFolder()
  const path = Path.join(folder, `${name}.bpf.o`)
  Fs.writeFileSync(Path.join(folder, `${name}.bpf.c`), source)
  const headers = ["-idirafter", `/usr/include/${run("cc", ["-dumpmachine"]).stdout.trim()}`]
  const flags = ["-target", "bpfel", "-mcpu=v3", "-O2", "-g", "-Wall", ...headers, "-c", `${name}.bpf.c`, "-o", path]
  const made = run("clang", flags, { cwd: folder })
  if (made.status !== 0) throw new Error(`clang: ${made.stderr}`)
  return path
}
