//! XML that is none, or too much; canonical forms; what is asked; and what providers say of themselves.

use std::io::Read as _;

use super::*;
use crate::saml::c14n::canonical;
use crate::saml::xml::{Kind, parse};

#[test]
fn documents_that_readers_read_unlike_each_other_are_not_read() {
    let idp = Idp::new();
    let signed = idp.signed(ASSERTION);
    let good = around(&signed);
    assert!(idp.believes(&good).is_ok());
    assert!(idp.believes(&format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{good}")).is_ok());
    let entity = "<!DOCTYPE x [<!ENTITY who \"mallory\"><!ENTITY file SYSTEM \"file:///etc/passwd\">]>";
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>";
    for (document, what) in [
        (format!("<!DOCTYPE x>{good}"), "a type"),
        (format!("{entity}{}", good.replace(">eve<", ">&who;<")), "an entity"),
        (format!("{entity}{}", good.replace(">eve<", ">&file;<")), "a file"),
        (format!("{bomb}{}", good.replace(">eve<", ">&b;<")), "a bomb"),
        (good.replace(">eve<", ">&who;<"), "an entity that is not there"),
        // A comment is not hashed, so the signature is good: who cuts the name there reads another person.
        (good.replace(">eve<", ">e<!-- -->ve<"), "a comment"),
        (good.replace("</samlp:Response>", "<!-- x --></samlp:Response>"), "a comment elsewhere"),
        (format!("<?xml-stylesheet href=\"x\"?>{good}"), "an instruction"),
        (good.replace(">eve<", "><?x y?>eve<"), "an instruction inside"),
        (format!("{good}{good}"), "two roots"),
        (good.replace("</samlp:Response>", ""), "no end"),
        (String::new(), "nothing"),
        ("<a>".repeat(40_000), "depth without an end"),
        (format!("{}{}", "<a>".repeat(9_000), "</a>".repeat(9_000)), "depth"),
        (
            good.replace("<samlp:Status>", &format!("<x{}/><samlp:Status>", " xmlns:y=\"z\"".repeat(3_000))),
            "declarations",
        ),
        (good.replace("<samlp:Status>", &format!("{}<samlp:Status>", "<x/>".repeat(30_000))), "parts"),
        (good.replace("<samlp:Status>", &format!("<x>{}</x><samlp:Status>", "x".repeat(200_000))), "length"),
    ] {
        assert_eq!(idp.refuses(&document), "sso.xml", "{what}");
    }
    // Deflated, as a request is and a response by form is not.
    let mut deflated = flate2::read::DeflateEncoder::new(good.as_bytes(), flate2::Compression::best());
    let mut bytes = Vec::new();
    deflated.read_to_end(&mut bytes).unwrap();
    for sent in [STANDARD.encode(bytes), "%".to_owned(), "A".repeat(1 << 20), STANDARD.encode([0xff, 0xfe, 0x3c, 0])] {
        assert_eq!(believe_response(&sent, &idp.expected()).unwrap_err().rule, "sso.xml");
    }
    // Text that is marked as text is text, and is read as it is hashed.
    let marked = good.replace(">eve<", "><![CDATA[e]]>ve<");
    assert_eq!(idp.believes(&marked).unwrap().believed.sub(), "persistent eve");
}

/// What one declaration makes of a small document is bounded as well.
#[test]
fn a_canonical_form_that_grows_is_not_made() {
    let uri = "u".repeat(90_000);
    let document = format!("<r xmlns:p=\"{uri}\">{}</r>", "<p:a/>".repeat(100));
    let document = parse(&document, Kind::Response).unwrap();
    assert_eq!(canonical(document.root_element(), None, &[]).unwrap_err().rule, "sso.xml");
}

#[test]
fn canonical_forms_are_those_of_the_recommendation() {
    let form = |text: &str, inclusive: &[&str]| {
        let document = parse(text, Kind::Metadata).unwrap();
        let inclusive: Vec<_> = inclusive.iter().map(|prefix| (*prefix).to_owned()).collect();
        let inner = document.descendants().find(|node| node.tag_name().name() == "here");
        canonical(inner.unwrap_or(document.root_element()), None, &inclusive).unwrap()
    };
    for (text, wanted) in [
        // Empty elements, quotes, order of attributes by namespace and name, and what is escaped (c14n 1.0 sections 3.3 and 3.4).
        ("<a  b = 'x'  a='y' />", r#"<a a="y" b="x"></a>"#),
        (
            "<e xmlns:b='urn:b' xmlns:a='urn:c' a:z='1' b:z='2' z='3'/>",
            r#"<e xmlns:a="urn:c" xmlns:b="urn:b" z="3" b:z="2" a:z="1"></e>"#,
        ),
        ("<a>x &amp; &lt; &gt; \" ' &#13;&#10;</a>", "<a>x &amp; &lt; &gt; \" ' &#xD;\n</a>"),
        ("<a b='&lt;&gt;&amp;&quot;&#9;&#10;&#13; x\ty'/>", "<a b=\"&lt;>&amp;&quot;&#x9;&#xA;&#xD; x y\"></a>"),
        ("<a>one\r\ntwo\rthree<![CDATA[<&>]]></a>", "<a>one\ntwo\nthree&lt;&amp;&gt;</a>"),
        ("<a><!-- x -->y<?z w?></a>", "<a>y</a>"),
        ("<a xml:lang='en'/>", r#"<a xml:lang="en"></a>"#),
        // Only what is used, where it is used first (exc-c14n section 2.2).
        (
            "<x xmlns='urn:x' xmlns:u='urn:u'><u:here><u:a/><b/></u:here></x>",
            r#"<u:here xmlns:u="urn:u"><u:a></u:a><b xmlns="urn:x"></b></u:here>"#,
        ),
        (
            "<x xmlns:u='urn:1'><u:here><u:a xmlns:u='urn:2'><u:b xmlns:u='urn:1'/></u:a></u:here></x>",
            r#"<u:here xmlns:u="urn:1"><u:a xmlns:u="urn:2"><u:b xmlns:u="urn:1"></u:b></u:a></u:here>"#,
        ),
        (
            "<here xmlns='urn:x'><a xmlns=''><b xmlns='urn:x'/></a></here>",
            r#"<here xmlns="urn:x"><a xmlns=""><b xmlns="urn:x"></b></a></here>"#,
        ),
        // Two prefixes of one namespace stay the two they are.
        (
            "<p:here xmlns:p='urn:x' xmlns:q='urn:x'><q:a p:z='1'/></p:here>",
            r#"<p:here xmlns:p="urn:x"><q:a xmlns:q="urn:x" p:z="1"></q:a></p:here>"#,
        ),
    ] {
        assert_eq!(form(text, &[]), wanted, "{text}");
    }
    let typed = "<x xmlns:xs='urn:xs' xmlns:t='urn:t' xmlns='urn:d'><t:here><t:a t:type='xs:string'/></t:here></x>";
    assert_eq!(form(typed, &[]), r#"<t:here xmlns:t="urn:t"><t:a t:type="xs:string"></t:a></t:here>"#);
    assert_eq!(
        form(typed, &["xs", "none"]),
        r#"<t:here xmlns:t="urn:t" xmlns:xs="urn:xs"><t:a t:type="xs:string"></t:a></t:here>"#
    );
    assert_eq!(
        form(typed, &["#default"]),
        r#"<t:here xmlns="urn:d" xmlns:t="urn:t"><t:a t:type="xs:string"></t:a></t:here>"#
    );
}

#[test]
fn a_request_says_what_is_asked() {
    let asking = |sso_url: &'static str, anew: bool| {
        let name_id = NameIdFormat::Persistent;
        SamlAsking { sso_url, sp: SP, acs: ACS, request: REQUEST, name_id, anew, now_s: NOW }.url()
    };
    let url = url::Url::parse(&asking("https://idp.example.com/sso?tenant=1&x=y", true).unwrap()).unwrap();
    let query: Vec<_> = url.query_pairs().collect();
    assert_eq!((query.len(), query[0].1.as_ref(), query[2].0.as_ref()), (3, "1", "SAMLRequest"));
    let mut text = String::new();
    let request = STANDARD.decode(query[2].1.as_bytes()).unwrap();
    flate2::read::DeflateDecoder::new(request.as_slice()).read_to_string(&mut text).unwrap();
    let document = parse(&text, Kind::Response).unwrap();
    let root = document.root_element();
    assert_eq!(root.attribute("ID"), Some(REQUEST));
    assert_eq!(root.attribute("Destination"), Some("https://idp.example.com/sso?tenant=1&x=y"));
    assert_eq!(root.attribute("AssertionConsumerServiceURL"), Some(ACS));
    assert_eq!(
        (root.attribute("IssueInstant"), root.attribute("ForceAuthn")),
        (Some("2027-01-15T08:00:00Z"), Some("true"))
    );
    assert!(text.contains(&format!(">{SP}<")) && !asking("https://x.example", false).unwrap().is_empty());
    assert_eq!(asking("nowhere", false), None);
    let told = sp_metadata(SP, ACS);
    let told = parse(&told, Kind::Metadata).unwrap();
    assert_eq!(told.root_element().attribute("entityID"), Some(SP));
}

#[test]
fn what_a_provider_says_of_itself_is_read_or_refused() {
    let idp = Idp::new();
    let certificate = idp.certificate.base64();
    let key = |usage: &str, text: &str| {
        format!(
            r#"<KeyDescriptor{usage}><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{text}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></KeyDescriptor>"#
        )
    };
    let document = format!(
        r#"<?xml version="1.0"?><!-- made by hand --><EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" entityID="{IDP}" validUntil="2027-02-01T00:00:00Z"><IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">{}{}<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://idp.example.com/post"/><SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example.com/sso"/></IDPSSODescriptor></EntityDescriptor>"#,
        key(r#" use="signing""#, &certificate),
        key(r#" use="encryption""#, "none of ours"),
    );
    let read = IdpMetadata::read(&document, NOW).unwrap();
    assert_eq!((read.entity_id.as_str(), read.sso_url.as_str()), (IDP, "https://idp.example.com/sso"));
    assert_eq!(
        read.certificates.iter().map(Certificate::base64).collect::<Vec<_>>(),
        std::slice::from_ref(&certificate)
    );
    for (from, to, rule) in [
        ("2027-02-01", "2027-01-01", "sso.metadata"),
        ("HTTP-Redirect", "SOAP", "sso.metadata"),
        ("https://idp.example.com/sso", "http://idp.example.com/sso", "sso.metadata"),
        ("https://idp.example.com/sso", "javascript:x", "sso.metadata"),
        ("\"urn:oasis:names:tc:SAML:2.0:protocol\"", "\"urn:oasis:names:tc:SAML:1.1:protocol\"", "sso.metadata"),
        ("use=\"signing\"", "use=\"other\"", "sso.metadata"),
        (&certificate[..20], "AAAA", "sso.certificate"),
        ("EntityDescriptor", "EntitiesDescriptor", "sso.metadata"),
        ("<?xml version=\"1.0\"?>", "<!DOCTYPE x>", "sso.xml"),
        (IDP, "", "sso.metadata"),
    ] {
        assert!(document.contains(from), "{from}");
        assert_eq!(IdpMetadata::read(&document.replace(from, to), NOW).unwrap_err().rule, rule, "{to}");
    }
    let pem = format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n");
    let stated = IdpMetadata::stated(IDP, "https://idp.example.com/sso", &[pem]).unwrap();
    assert_eq!(stated.certificates[0].fingerprint().len(), 32 * 3 - 1);
    assert!(IdpMetadata::stated(IDP, "https://idp.example.com/sso", &[]).is_err());
    assert!(Certificate::read(&format!("{}AAAA", certificate.trim_end_matches('='))).is_err());
}
