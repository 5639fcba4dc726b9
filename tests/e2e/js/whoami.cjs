// Asks STS who the profile is, through the JavaScript SDK's stock credential chain. The modules lie elsewhere: the
// first argument is the folder that holds node_modules, the second the profile.
const { createRequire } = require("node:module");
const [folder, profile] = process.argv.slice(2);
const { STSClient, GetCallerIdentityCommand } = createRequire(folder + "/")("@aws-sdk/client-sts");

new STSClient({ profile })
  .send(new GetCallerIdentityCommand({}))
  .then((answer) => process.stdout.write(JSON.stringify(answer.Arn)))
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
