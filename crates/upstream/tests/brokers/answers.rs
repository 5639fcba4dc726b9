//! What backends were seen to answer. Credentials expire at 2027-01-15T09:00:00Z, an hour after every request.

/// AWS, to AssumeRoleWithWebIdentity.
pub(crate) const AWS_WEB_IDENTITY: &str = r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <SubjectFromWebIdentityToken>ada</SubjectFromWebIdentityToken>
    <Audience>sts.amazonaws.com</Audience>
    <AssumedRoleUser>
      <Arn>arn:aws:sts::111122223333:assumed-role/Read/ada</Arn>
      <AssumedRoleId>AROACLKWSDQRAOEXAMPLE:ada</AssumedRoleId>
    </AssumedRoleUser>
    <Credentials>
      <SessionToken>AQoDYXdzEE0a8ANXXXXXXXXNO1ewxE5TijQyp+IEXAMPLE==</SessionToken>
      <SecretAccessKey>wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY</SecretAccessKey>
      <Expiration>2027-01-15T09:00:00Z</Expiration>
      <AccessKeyId>ASgeIAIOSFODNN7EXAMPLE</AccessKeyId>
    </Credentials>
    <SourceIdentity/>
    <Provider>arn:aws:iam::111122223333:oidc-provider/sso.example.org</Provider>
  </AssumeRoleWithWebIdentityResult>
  <ResponseMetadata>
    <RequestId>ad4156e9-bce1-11e2-82e6-6b6efEXAMPLE</RequestId>
  </ResponseMetadata>
</AssumeRoleWithWebIdentityResponse>"#;

/// AWS, to AssumeRole.
pub(crate) const AWS_ASSUME_ROLE: &str = r#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <AssumedRoleUser>
      <Arn>arn:aws:sts::111122223333:assumed-role/Read/ada</Arn>
      <AssumedRoleId>ARO123EXAMPLE123:ada</AssumedRoleId>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>
      <SecretAccessKey>wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY</SecretAccessKey>
      <SessionToken>AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQW==</SessionToken>
      <Expiration>2027-01-15T09:00:00Z</Expiration>
    </Credentials>
    <PackedPolicySize>6</PackedPolicySize>
  </AssumeRoleResult>
  <ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ResponseMetadata>
</AssumeRoleResponse>"#;

/// MinIO: an empty user, `AssumeRoleId`, no audience.
pub(crate) const MINIO: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><AssumedRoleUser><Arn></Arn><AssumeRoleId></AssumeRoleId></AssumedRoleUser><Credentials><AccessKeyId>Y4RJU1RNFGK48LGO9I2S</AccessKeyId><SecretAccessKey>sYLRKS1Z7hSjluf6gEbb9066hnx315wHTiACPAjg</SecretAccessKey><Expiration>2027-01-15T09:00:00Z</Expiration><SessionToken>eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJhY2Nlc3NLZXkiOiJZNFJKVTFSTkZHSzQ4TEdPOUkyUyJ9.example</SessionToken></Credentials><SubjectFromWebIdentityToken>ada</SubjectFromWebIdentityToken></AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>16BA5D7A1E9F1C1C</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>
"#;

/// Ceph 20: `AssumeRoleId`, nanoseconds.
pub(crate) const CEPH: &str = r#"<?xml version="1.0" encoding="UTF-8"?><AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><SubjectFromWebIdentityToken>ada</SubjectFromWebIdentityToken><Audience>ceph</Audience><AssumedRoleUser><Arn>arn:aws:sts:::assumed-role/Read/ada</Arn><AssumeRoleId>0cd1f6ad-4ee6-4a51-a1c6-9a30c8c1a8e5:ada</AssumeRoleId></AssumedRoleUser><Credentials><AccessKeyId>Mkv43Ck1K2xLB8ZkfB</AccessKeyId><Expiration>2027-01-15T09:00:00.851045917Z</Expiration><SecretAccessKey>3FE1Z3JKMVVZTJ7UOOL4AZBA8KUHEXAMPLE</SecretAccessKey><SessionToken>Mkv43Ck1K2xLB8ZkfBexample==</SessionToken></Credentials><Provider>sso.example.org</Provider><PackedPolicySize>0</PackedPolicySize></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"#;

/// Ceph 16 and 18, the same without a namespace.
pub(crate) fn old_ceph() -> String {
    CEPH.replace(r#" xmlns="https://sts.amazonaws.com/doc/2011-06-15/""#, "")
}

/// An error of AWS or MinIO, or of Ceph 20 with an empty message.
pub(crate) fn error(code: &str, message: &str) -> String {
    format!(
        r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>71f02f8c-example</RequestId></ErrorResponse>"#
    )
}

/// An error of Ceph 16 and 18: nothing around it, and no message.
pub(crate) fn old_ceph_error(code: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message></Message><RequestId>tx000-example</RequestId><HostId>1063-default</HostId></Error>"#
    )
}
