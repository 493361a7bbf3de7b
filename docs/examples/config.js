// A configuration of the original s3sync, for `s3syncctl import`: two folders of one source, five buckets in four
// regions, one of them in China with keys of its own.
var rc = require('rc');

var defaults = {
    aws: { accessKeyId: 'AKIDGLOBAL', secretAccessKey: 'global-secret' },
    log4js: { level: 'INFO' },
    fullsync: { interval: 6 * 60 * 60 },
    s3sync: {
        regions: [
            { region: 'us-east-1', suffix: '.use1' },
            { region: 'us-west-2', suffix: '.usw2' },
            { region: 'eu-west-1', suffix: '.euw1' },
            { region: 'cn-north-1', suffix: '.cnn1', access: 'AKIDCHINA', secret: 'china-secret' },
        ],
        buckets: [
            {
                src: 'srcbucket', srcprefix: 'srcfolder/', srcregion: 'us-west-2',
                dest: 'destbucket_prefix', destprefix: 'destfolder/',
                destregions: ['us-west-2', 'eu-west-1', 'cn-north-1'],
            },
            {
                src: 'srcbucket2', srcprefix: 'srcfolder2', srcregion: 'us-east-1',
                dest: 'destbucket_prefix', destprefix: 'destfolder2',
                destregions: ['us-east-1', 'eu-west-1'],
            },
        ],
        sqs: { url: 'https://sqs.us-west-2.amazonaws.com/123456789012/s3sync', region: 'us-west-2' },
    },
};

module.exports = rc('s3sync', defaults);
