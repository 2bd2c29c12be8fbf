/** libbpf's typed data dump as a judge: `bench/peers/btf_data.c`, whose head says what is asked and answered. */
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { temporaryFolder } from "./Require.ts"

/** One dump that is asked for. */
export interface DataRequest {
  readonly typeId: number
  readonly bytes: Uint8Array
  readonly compact?: boolean
  readonly skipNames?: boolean
  readonly emitZeroes?: boolean
  /** Names are numbered for this request alone. */
  readonly fresh?: boolean
  readonly indent?: string
  readonly level?: number
}

/** What libbpf said: the size of the type or a negative errno, and the text so far. */
export interface DataAnswer {
  readonly returned: number
  readonly text: string
}

/** Asks the judge for all dumps of types of the BTF in `file`; as many answers as requests. */
export const askDataPeer = (
  command: string,
  file: string,
  requests: ReadonlyArray<DataRequest>
): ReadonlyArray<DataAnswer> => {
  const input = Buffer.concat(requests.flatMap((request) => {
    const indent = Buffer.from(request.indent ?? "\t")
    const head = Buffer.alloc(20)
    head.writeUInt32LE(request.typeId, 0)
    const flags = [request.compact, request.skipNames, request.emitZeroes, request.fresh]
    head.writeUInt32LE(flags.reduce((sum, flag, bit) => sum + (flag === true ? 2 ** bit : 0), 0), 4)
    head.writeInt32LE(request.level ?? 0, 8)
    head.writeUInt32LE(indent.length, 12)
    head.writeUInt32LE(request.bytes.length, 16)
    return [head, indent, request.bytes]
  }))
  const folder = temporaryFolder()
  const inputPath = Path.join(folder, "requests")
  const outputPath = Path.join(folder, "answers")
  Fs.writeFileSync(inputPath, input)
  const [from, to] = [Fs.openSync(inputPath, "r"), Fs.openSync(outputPath, "w")]
  const done = ChildProcess.spawnSync(command, ["text", file], { stdio: [from, to, "pipe"], timeout: 300_000 })
  Fs.closeSync(from)
  Fs.closeSync(to)
  if (done.status !== 0) throw new Error(`the judge ended with ${done.status ?? done.signal}: ${String(done.stderr)}`)
  const output = Fs.readFileSync(outputPath)
  const answers: Array<DataAnswer> = []
  for (let at = 0; at < output.length;) {
    const length = output.readUInt32LE(at + 4)
    const text = output.toString("latin1", at + 8, at + 8 + length)
    answers.push({ returned: output.readInt32LE(at), text })
    at += 8 + length
  }
  if (answers.length !== requests.length) throw new Error(`${answers.length} answers to ${requests.length} requests`)
  return answers
}
