/**
 * A thread of `core check`: answers requests until it is stopped. In the bundled command it is a file of its own.
 */
import { parentPort, workerData } from "node:worker_threads"
import * as Checker from "./Checker.ts"

const isSetup = (value: unknown): value is Checker.Setup =>
  typeof value === "object" && value !== null && "objects" in value && "kernels" in value

const isRequest = (value: unknown): value is Checker.Request =>
  typeof value === "object" && value !== null && "_tag" in value && (value._tag === "Column" || value._tag === "Names")

const setup: unknown = workerData

if (parentPort !== null && isSetup(setup)) {
  const port = parentPort
  const checker = Checker.make(setup)
  port.on("message", (request: unknown) => {
    if (!isRequest(request)) return
    port.postMessage(request._tag === "Column" ? checker.column(request.kernel) : checker.names(request.question))
  })
}
