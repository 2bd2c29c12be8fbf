export { kernelName } from "../abi/Name.ts"
